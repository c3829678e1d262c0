#!/usr/bin/env python3
"""Training on an NVIDIA card against training on the CPU. Skipped, with the reason, where there is no card. See train_programs.py."""
import math
import shutil
import subprocess
import unittest

from train_programs import Training, free_port, losses, main, metrics, training

STEPS = ["--epochs", "2", "--save_interval", "0"]
FLOAT32 = ["--dtype", "float32"]


def cards():
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi is not installed"
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return None if listed.returncode == 0 and "GPU" in listed.stdout else "no NVIDIA card is visible"


MISSING = cards()


@unittest.skipIf(MISSING, f"needs an NVIDIA card: {MISSING}")
class OnACard(Training):
    def curve(self, name, *extra, **environment):
        self.finish(self.start(training(self.out / name, *STEPS, *extra), **environment))
        return losses(self.out / name)

    def assert_near(self, found, expected, tolerance):
        self.assertEqual(len(found), len(expected))
        for (step, a), (_, b) in zip(found, expected):
            self.assertLessEqual(abs(a - b), tolerance * abs(b), f"step {step}: {a} against {b}")

    def test_float32_losses_equal_the_cpu_s(self):
        self.assert_near(self.curve("card", "--device", "cuda:0", *FLOAT32), self.curve("cpu", "--device", "cpu", *FLOAT32), 1e-3)

    def test_bfloat16_and_float16_stay_near_float32(self):
        plain = self.curve("plain", "--device", "cuda:0", *FLOAT32)
        for dtype in ("bfloat16", "float16"):
            curve = self.curve(dtype, "--device", "cuda:0", "--dtype", dtype)
            self.assertTrue(all(math.isfinite(loss) for _, loss in curve))
            last = sum(loss for _, loss in curve[-8:]) / 8
            self.assertLessEqual(abs(last / (sum(loss for _, loss in plain[-8:]) / 8) - 1), 0.05, dtype)

    def test_one_nccl_rank_equals_no_group(self):
        alone = self.curve("alone", "--device", "cuda:0", *FLOAT32)
        ranked = self.curve("ranked", "--device", "cuda:0", *FLOAT32, RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, LOCAL_WORLD_SIZE=1, MASTER_ADDR="127.0.0.1",
                            MASTER_PORT=free_port())
        self.assert_near(ranked, alone, 1e-5)

    def test_metrics_hold_the_memory_of_the_card(self):
        self.curve("card", "--device", "cuda:0")
        self.assertGreater(metrics(self.out / "card")[-1]["device_memory_mb"], 0)


main()
