#!/usr/bin/env python3
"""Trainings on the make-believe card against trainings on the CPU, in the table RUNS. See card.py and tests/train/train_programs.py."""
import unittest

from card import CARD, Counts, environment
from train_programs import SAMPLE, STEM, Training, checkpoints, losses, main, metrics, training, weights

FLOAT32 = ["--dtype", "float32"]
MOE = ["--use_moe", "True", "--n_routed_experts", 4, "--num_experts_per_tok", 2]
# Name: flags, and the largest relative difference of a loss. In float32 both devices do the same sums in another order;
# the smallest dtypes round each result, to 8 and 11 bits.
RUNS = {
    "float32": (FLOAT32, 1e-6),
    "bfloat16": (["--dtype", "bfloat16"], 3e-4),
    "float16 against float32": (["--dtype", "float16"], 1e-4),
    "experts": ([*FLOAT32, *MOE], 1e-6),
    "experts in bfloat16": (["--dtype", "bfloat16", *MOE], 3e-4),
    "accumulation": ([*FLOAT32, "--accumulation_steps", 3], 1e-6),
    "frozen language model": ([*FLOAT32, "--freeze", "language_model"], 1e-6),
    "frozen middle layers": ([*FLOAT32, "--n_layers", 3, "--freeze", "middle_layers"], 1e-6),
    "no kept features": ([*FLOAT32, "--feature_memory_mb", 0], 1e-6),
}


class OnTheCard(Training):
    def on_card(self, name, *extra, code=0, program="pretrain_vlm", data="pretrain.json", **settings):
        """What the program tells. Its counts go to a file of the run's name."""
        command = training(self.out / name, *extra, *CARD, program=program, data=data)
        return self.finish(self.start(command, **environment(self.out / f"{name}.counts", **settings)), code)

    def counts(self, name):
        return Counts(self.out / f"{name}.counts")

    def on_cpu(self, name, *extra, **changes):
        return self.run_training(self.out / name, *extra, "--device", "cpu", **changes)

    def assert_near(self, found, expected, tolerance):
        self.assertGreater(len(expected), 3)
        self.assertEqual([step for step, _ in found], [step for step, _ in expected])
        for (step, a), (_, b) in zip(found, expected):
            self.assertLessEqual(abs(a - b), tolerance * abs(b), f"step {step}: {a} on the card, {b} on the CPU")

    def test_losses_equal_those_of_the_cpu(self):
        for index, (name, (flags, tolerance)) in enumerate(RUNS.items()):
            with self.subTest(name):
                steps = ["--max_steps", 24 if "--accumulation_steps" in flags else 8]
                self.on_cpu(f"cpu{index}", *steps, *(FLOAT32 if "float16" in flags else flags))
                self.on_card(f"card{index}", *steps, *flags)
                self.assert_near(losses(self.out / f"card{index}"), losses(self.out / f"cpu{index}"), tolerance)
                self.assertGreater(self.counts(f"card{index}")["sum_operation"], 100)
                self.assertEqual(self.counts(f"card{index}")["peak_bytes_0"], 0)
                self.assertEqual(self.counts(f"card{index}")["sum_race"], 0)

    def test_dropout_draws_the_same_numbers_in_each_run(self):
        """Other numbers than on the CPU: the card's batches are longer."""
        for name, flags in {"first": ["--dropout", 0.1], "second": ["--dropout", 0.1], "none": []}.items():
            self.on_card(name, *FLOAT32, "--max_steps", 8, *flags)
        self.assertEqual(losses(self.out / "first"), losses(self.out / "second"))
        self.assertNotEqual(losses(self.out / "first"), losses(self.out / "none"))

    def test_the_feature_cache_serves_the_card_cold_and_warm(self):
        cache = [*FLOAT32, "--max_steps", 8, "--feature_cache", self.out / "cache", "--feature_cache_dtype", "float32", "--feature_memory_mb", 0]
        self.on_card("plain", *FLOAT32, "--max_steps", 8, "--feature_memory_mb", 0)
        self.assertIn(" 0 are there", self.on_card("cold", *cache))
        self.on_card("warm", *cache)
        for name in ("cold", "warm"):
            self.assert_near(losses(self.out / name), losses(self.out / "plain"), 1e-6)
        self.assertLess(self.counts("warm")["sum_operation"], self.counts("cold")["sum_operation"])

    def test_validation_equals_that_of_the_cpu(self):
        flags = [*FLOAT32, "--epochs", 1, "--val_data", SAMPLE / "pretrain_held_out.json"]
        self.on_cpu("cpu", *flags)
        self.on_card("card", *flags)
        found, expected = ([record for record in metrics(self.out / name) if "loss" not in record] for name in ("card", "cpu"))
        self.assertEqual(len(found), 1)
        values = {key: value for key, value in expected[0].items() if isinstance(value, float) and "loss" in key}
        self.assertEqual(len(values), 3)
        for key, value in values.items():
            self.assertAlmostEqual(found[0][key], value, delta=1e-5 * value, msg=key)

    def test_a_resumed_run_has_the_bytes_of_a_straight_one(self):
        for dtype in ("float32", "float16"):
            flags = ["--dtype", dtype, "--save_interval", 3]
            self.on_card(f"{dtype}_straight", *flags, "--max_steps", 9)
            self.on_card(f"{dtype}_parts", *flags, "--max_steps", 9)
            for path in checkpoints(self.out / f"{dtype}_parts")[1:]:
                path.unlink()
            (self.out / f"{dtype}_parts" / f"{STEM}.pth").unlink()
            self.assertIn("resum", self.on_card(f"{dtype}_parts", *flags, "--max_steps", 9, "--resume"))
            self.assertEqual(weights(self.out / f"{dtype}_parts"), weights(self.out / f"{dtype}_straight"), dtype)

    def test_fine_tuning_with_one_and_several_images(self):
        self.on_cpu("first", *FLOAT32, "--max_steps", 2)
        for name, data, extra in (("sft", "sft.json", []), ("multi", "sft_multi.json", ["--multi"])):
            flags = [*FLOAT32, "--init_from", self.out / "first" / f"{STEM}.pth", "--max_steps", 5, *extra]
            self.on_cpu(f"cpu_{name}", *flags, program="sft_vlm", data=data)
            self.on_card(f"card_{name}", *flags, program="sft_vlm", data=data)
            self.assert_near(losses(self.out / f"card_{name}"), losses(self.out / f"cpu_{name}"), 1e-6)

    def test_the_plan_foretells_the_peak_which_has_no_measurement_in_it(self):
        """The measurement of the machine's speed, before the first step, multiplies larger matrices than this model has."""
        flags = [*FLOAT32, "--max_steps", 4, "--batch_size", 1]
        planned = next(line for line in self.on_card("plan", *flags, "--plan").splitlines() if line.endswith("<- --batch_size"))
        self.on_card("run", *flags)
        peak = metrics(self.out / "run")[-1]["device_memory_mb"]
        self.assertAlmostEqual(peak, float(planned.split()[4]), delta=0.15 * peak)
        self.assertAlmostEqual(peak, self.counts("run")["peak_bytes_1"] / 1e6, delta=0.1 * peak)

    def test_exhausted_memory_says_what_helps(self):
        self.on_card("good", "--max_steps", 4)
        allocations = self.counts("good")["allocations"]
        for share in (0.3, 0.6, 0.9):
            told = self.on_card(f"full{share}", "--max_steps", 4, code=1, FAKE_CUDA_FAIL_ALLOCATION=int(share * allocations))
            errors = [line for line in told.splitlines() if line.startswith("error: ")]
            self.assertEqual(len(errors), 1, told)
            self.assertIn("--batch_size", errors[0])
            self.assertIn("--plan", errors[0])


if __name__ == "__main__":
    main()
