#!/usr/bin/env python3
"""Saves in the background: by time, on a slow disk, with kills, stops and failures in the middle. MINIMIND_SLOW_DISK names the
library that makes a disk slow. See train_programs.py."""
import os
import pathlib
import re
import signal
import time
import unittest

from train_programs import STEM, Training, checkpoints, losses, main, metrics, training, wait_until, weights

SLOW_DISK = os.environ["MINIMIND_SLOW_DISK"]
LONG = ["--epochs", 60]  # 720 steps of some milliseconds
STEPS = 720
OFTEN = ["--save_minutes", "0.001", "--keep_last", 1000]  # a save is due whenever none is written


def half_written(out):
    folder = pathlib.Path(out) / f"{STEM}_checkpoints"
    return [name for name in os.listdir(folder) if ".tmp." in name] if folder.is_dir() else []


def steps_of(out):
    return [int(path.stem[5:]) for path in checkpoints(out)]


def waited_for_saves(out):
    """Seconds, from the share in each line."""
    records, last, waited = metrics(out), 0.0, 0.0
    for record in records:
        waited += record["save_wait_share"] * (record["seconds"] - last)
        last = record["seconds"]
    return waited


class Saving(Training):
    def start_slow(self, out, milliseconds, *extra):
        return self.start(training(out, *extra), LD_PRELOAD=SLOW_DISK, MINIMIND_SLOW_DISK_MS=milliseconds)

    def wait_for_steps_beside_a_save(self, out, steps):
        """Waits until that many steps have passed while one checkpoint was being written."""
        def passed():
            names = half_written(out)
            before = len(losses(out))
            end = time.monotonic() + 5
            while names and half_written(out) == names and time.monotonic() < end:
                if len(losses(out)) >= before + steps:
                    return half_written(out) == names
            return False
        wait_until(passed, 300, f"{steps} steps while a checkpoint is written")

    def test_training_goes_on_while_a_slow_disk_takes_a_checkpoint(self):
        straight, out = self.out / "straight", self.out / "slow"
        self.run_training(straight, *LONG)
        self.assertEqual(steps_of(straight), [STEPS], "a short run saves at its end alone")
        process = self.start_slow(out, 700, *LONG, *OFTEN)
        self.wait_for_steps_beside_a_save(out, 5)
        told = self.finish(process)
        self.assertGreaterEqual(len(steps_of(out)), 3)
        self.assertEqual(weights(out), weights(straight))
        self.assertLess(waited_for_saves(out), 0.7, "less than one save takes")
        self.assertRegex(told, r"wait: data \d+% ranks \d+% saving \d+%")

    def test_the_time_of_steps_that_wait_for_a_save_is_told(self):
        out = self.out / "run"
        told = self.finish(self.start_slow(out, 300, "--epochs", 1, "--save_interval", 2, "--save_minutes", 0))
        self.assertGreater(waited_for_saves(out), 0.6)
        self.assertGreater(max(int(share) for share in re.findall(r"saving (\d+)%", told)), 50)

    def test_runs_killed_while_a_checkpoint_is_written_end_with_the_same_bytes(self):
        self.run_training(self.out / "straight", *LONG)
        expected = weights(self.out / "straight"), losses(self.out / "straight")
        for kill in range(4):
            out = self.out / f"killed{kill}"
            process = self.start_slow(out, 400, *LONG, *OFTEN)
            wait_until(lambda: len(steps_of(out)) >= kill, 300, f"{kill} checkpoints")
            self.wait_for_steps_beside_a_save(out, 1 + 2 * kill)
            process.kill()
            process.wait()
            self.assertTrue(half_written(out))
            self.run_training(out, *LONG, "--resume")
            self.assertEqual(half_written(out), [])
            self.assertEqual((weights(out), losses(out)), expected, f"kill {kill}")

    def test_a_stop_signal_waits_for_the_save_that_is_written(self):
        out = self.out / "run"
        process = self.start_slow(out, 700, *LONG, *OFTEN)
        self.wait_for_steps_beside_a_save(out, 5)
        written = [int(name[5:17]) for name in half_written(out)]
        process.terminate()
        self.assertIn("stopped and saved", self.finish(process, 128 + signal.SIGTERM))
        self.assertEqual(half_written(out), [])
        self.assertLess(set(written), set(steps_of(out)))
        self.assertEqual(steps_of(out)[-1], losses(out)[-1][0])

    def test_an_error_of_the_thread_ends_the_run(self):
        out = self.out / "run"
        self.run_training(out, "--epochs", 1, "--save_interval", 6)
        before = {path: path.read_bytes() for path in checkpoints(out)}
        limit = len(next(iter(before.values()))) // 2
        limited = ["python3", "-c", "import os, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
                   f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); os.execv(sys.argv[1], sys.argv[1:])"]
        told = self.finish(self.start([*limited, *training(out, *LONG, "--save_minutes", "0.001", "--resume")]), 1)
        self.assertRegex(told, r"\nerror: .*step_0\d+\.safetensors: cannot be written: File too large; older checkpoints stay: "
                               "continue with --resume")
        self.assertEqual({path: path.read_bytes() for path in checkpoints(out)}, before)
        self.assertLess(losses(out)[-1][0], STEPS, "long before the end")

    def test_a_failing_step_waits_for_the_save_that_is_written(self):
        """The run cannot write its metrics: a folder stands in place of the file."""
        out = self.out / "run"
        process = self.start_slow(out, 700, *LONG, *OFTEN)
        self.wait_for_steps_beside_a_save(out, 5)
        written = [int(name[5:17]) for name in half_written(out)]
        (out / "metrics.jsonl").unlink()
        (out / "metrics.jsonl").mkdir()
        told = self.finish(process, 1)
        self.assertRegex(told, r"\nerror: .*metrics\.jsonl: expected a file to write, found a folder")
        self.assertEqual(half_written(out), [])
        self.assertEqual(set(written) - set(steps_of(out)), set())

    def test_ranks_save_by_the_clock_of_rank_0(self):
        straight, out = self.out / "straight", self.out / "run"
        two = ["--epochs", 30, "--processes", 2]
        self.run_training(straight, *two)
        process = self.start_slow(out, 300, *two, *OFTEN)
        self.wait_for_steps_beside_a_save(out, 3)
        self.finish(process)
        self.assertGreaterEqual(len(steps_of(out)), 3)
        self.assertEqual((weights(out), losses(out)), (weights(straight), losses(straight)))


if __name__ == "__main__":
    main()
