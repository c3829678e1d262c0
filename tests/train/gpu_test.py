#!/usr/bin/env python3
"""Training and the golden data on NVIDIA cards. Skipped, with the reason, where there is no card. See train_programs.py."""
import math
import os
import shutil
import signal
import subprocess
import time
import unittest

from train_programs import BIN, Training, free_port, losses, main, metrics, training, wait_until

STEPS = ["--epochs", "2", "--save_interval", "0"]
FLOAT32 = ["--dtype", "float32"]
GOLDEN = {"test_model": "GoldenLm*:GoldenClip*", "test_infer": "Golden*"}
LIMIT = 30  # seconds from a lost rank to the end of the group


def cards():
    """The number of cards, and why there is none."""
    if shutil.which("nvidia-smi") is None:
        return 0, "nvidia-smi is not installed"
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    count = sum(line.startswith("GPU") for line in listed.stdout.splitlines()) if listed.returncode == 0 else 0
    return count, "no NVIDIA card is visible"


COUNT, MISSING = cards()


@unittest.skipIf(COUNT < 1, f"needs an NVIDIA card: {MISSING}")
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
        """MINIMIND_TEST_GROUP_OF_ONE builds communicator, hook and futures for one rank; its end shuts NCCL down without a warning."""
        alone = self.curve("alone", "--device", "cuda:0", *FLOAT32)
        process = self.start(training(self.out / "ranked", *STEPS, "--device", "cuda:0", *FLOAT32), RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, LOCAL_WORLD_SIZE=1,
                             MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port(), MINIMIND_TEST_GROUP_OF_ONE=1, NCCL_DEBUG="INFO")
        told = self.finish(process)
        self.assertIn("NCCL INFO", told)
        self.assertNotIn("destroy_process_group", told)
        self.assert_near(losses(self.out / "ranked"), alone, 1e-5)

    def test_metrics_hold_the_memory_of_the_card(self):
        self.curve("card", "--device", "cuda:0")
        self.assertGreater(metrics(self.out / "card")[-1]["device_memory_mb"], 0)

    def test_golden_data_agree_in_float32(self):
        for name, kinds in GOLDEN.items():
            done = subprocess.run([BIN.parent / "tests" / name, f"--gtest_filter={kinds}"], capture_output=True, text=True,
                                  env={**os.environ, "MINIMIND_TEST_DEVICE": "cuda:0"})
            self.assertEqual(done.returncode, 0, done.stdout[-4000:] + done.stderr[-4000:])
            print("\n".join(line for line in done.stdout.splitlines() if line.startswith("golden ")))


@unittest.skipIf(COUNT < 2, f"needs two NVIDIA cards: {MISSING if COUNT == 0 else 'one is visible'}")
class OnTwoCards(Training):
    def start_pair(self, out, *extra, second={}):
        port = free_port()
        return [self.start(training(out, *extra, "--device", "cuda", *FLOAT32), RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, LOCAL_WORLD_SIZE=2,
                           MASTER_ADDR="127.0.0.1", MASTER_PORT=port, **(second if rank else {})) for rank in (0, 1)]

    def test_losses_equal_those_of_one_card_with_the_double_batch(self):
        for process in self.start_pair(self.out / "two", *STEPS):
            self.assertNotIn("destroy_process_group", self.finish(process))
        self.finish(self.start(training(self.out / "one", *STEPS, "--device", "cuda:0", *FLOAT32, "--batch_size", 8)))
        pairs = list(zip(losses(self.out / "two"), losses(self.out / "one"), strict=True))
        self.assertGreater(len(pairs), 0)
        for (step, a), (_, b) in pairs:
            self.assertLessEqual(abs(a - b), 1e-3 * b, f"step {step}")

    def test_a_killed_rank_is_named_by_the_other(self):
        out = self.out / "run"
        ranks = self.start_pair(out, "--epochs", 1000)
        wait_until(lambda: len(losses(out)) >= 3, 120, "three steps")
        ranks[1].send_signal(signal.SIGKILL)
        start = time.monotonic()
        self.assertRegex(self.finish(ranks[0], 1, LIMIT), "rank 1[ ,(]")
        print(f"the other rank ended after {time.monotonic() - start:.1f} s")

    def test_a_rank_out_of_memory_is_named_by_the_other(self):
        """A thousandth of a large card leaves room for the weights and for no batch of 4,000 samples."""
        ranks = self.start_pair(self.out / "run", "--epochs", 1000, "--batch_size", 4000, second={"PYTORCH_CUDA_ALLOC_CONF": "per_process_memory_fraction:0.001"})
        self.assertIn("rank 1 of 2: out of memory", self.finish(ranks[1], 1))
        start = time.monotonic()
        self.assertRegex(self.finish(ranks[0], 1, LIMIT), "rank 1 has ended: rank 1 of 2: out of memory")
        print(f"the other rank ended after {time.monotonic() - start:.1f} s")


main()
