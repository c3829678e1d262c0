#!/usr/bin/env python3
"""--dtype bfloat16 on a CPU multiplies in the faster way, and a run keeps its way. Runs the real program; see train_programs.py."""
import os
import pathlib
import tempfile

from train_programs import Training, losses, main, training, weights

PRODUCTS = {"MINIMIND_BFLOAT16": "products"}
WIDENED = {"MINIMIND_BFLOAT16": "float32"}
BFLOAT16 = ["--dtype", "bfloat16"]


class Bfloat16(Training):
    def run_with(self, environment, out, *extra, code=0):
        return self.finish(self.start(training(self.out / out, *extra), **environment), code)

    def test_widened_products_are_those_of_float32(self):
        self.run_with({}, "float32", "--dtype", "float32")
        told = self.run_with(WIDENED, "widened", *BFLOAT16)
        self.run_with(PRODUCTS, "products", *BFLOAT16)
        self.assertIn("--dtype bfloat16: bfloat16 is widened to float32", told)
        self.assertEqual(weights(self.out / "widened"), weights(self.out / "float32"))
        self.assertNotEqual(losses(self.out / "products"), losses(self.out / "float32"))

    def test_a_run_goes_on_in_its_own_way_and_says_so(self):
        self.run_with(PRODUCTS, "straight", *BFLOAT16)
        self.run_with(PRODUCTS, "stopped", *BFLOAT16, "--max_steps", 5)
        told = self.run_with(WIDENED, "stopped", *BFLOAT16, "--resume")
        self.assertIn("resuming with bfloat16 products as the run began; a new run on this machine would use float32", told)
        self.run_with(WIDENED, "changed", *BFLOAT16, "--max_steps", 5)
        told = self.run_with(PRODUCTS, "changed", *BFLOAT16, "--resume")
        self.assertIn("resuming with float32 products as the run began; a new run on this machine would use bfloat16", told)

    def test_another_value_of_the_variable_is_refused(self):
        told = self.run_with({"MINIMIND_BFLOAT16": "fast"}, "refused", *BFLOAT16, code=1)
        self.assertIn("MINIMIND_BFLOAT16: expected products or float32, found 'fast'", told)

    def test_the_measured_choice_is_kept_and_gives_the_same_bytes(self):
        with tempfile.TemporaryDirectory() as cache:
            environment = {name: value for name, value in os.environ.items() if name != "MINIMIND_BFLOAT16"}
            os.environ.pop("MINIMIND_BFLOAT16", None)
            try:
                told = [self.run_with({"XDG_CACHE_HOME": cache}, name, *BFLOAT16, "--max_steps", 2) for name in ("first", "second")]
            finally:
                os.environ.update(environment)
            lines = [[line for line in text.splitlines() if "--dtype bfloat16: " in line] for text in told]
            self.assertEqual(len(lines[0]), 1, told[0])
            self.assertEqual(lines[0], lines[1])
            self.assertEqual(weights(self.out / "first"), weights(self.out / "second"))
            kept = list(pathlib.Path(cache).rglob("bfloat16-*.json"))
            self.assertEqual(len(kept), 0 if "has no bfloat16 products" in lines[0][0] else 1)


if __name__ == "__main__":
    main()
