#!/usr/bin/env python3
"""No run is lost: kills at random moments, signals, full disks and damaged checkpoints. Runs the real program; see train_programs.py."""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time
import unittest

from train_programs import STEM, Training, can_mount, checkpoints, losses, main, training, wait_until, weights

RUN = ["--epochs", "2", "--save_interval", "1", "--accumulation_steps", "1"]
STEPS = 24
KILLS = 20


def being_written(out):
    folder = pathlib.Path(out) / f"{STEM}_checkpoints"
    return folder.is_dir() and any(".tmp." in name for name in os.listdir(folder))


class Killed(Training):
    def kill_at_random(self, process, out, chance, seconds, while_saving):
        """False if the run ended before."""
        if while_saving:
            wanted = chance.randrange(1, STEPS)
            while process.poll() is None and not (len(losses(out)) >= wanted and being_written(out)):
                pass
        else:
            try:
                process.wait(chance.uniform(0.02, seconds))
            except subprocess.TimeoutExpired:
                pass
        if process.poll() is not None:
            return False
        process.kill()
        process.wait()
        return process.returncode == -signal.SIGKILL

    def test_runs_killed_at_random_moments_end_with_the_same_bytes(self):
        start = time.monotonic()
        self.run_training(self.out / "straight", *RUN)
        seconds = time.monotonic() - start
        expected = weights(self.out / "straight"), losses(self.out / "straight")
        self.assertEqual(len(expected[1]), STEPS)
        chance = random.Random(20241003)
        killed, in_saving, resumed_from = 0, 0, []
        while killed < KILLS:
            out = self.out / f"killed{killed}"
            shutil.rmtree(out, ignore_errors=True)
            while_saving = killed % 2 == 1
            if not self.kill_at_random(self.start(training(out, *RUN)), out, chance, seconds, while_saving):
                continue
            killed += 1
            in_saving += being_written(out)
            resumed_from.append(int(checkpoints(out)[-1].stem[5:]) if checkpoints(out) else 0)
            self.run_training(out, *RUN, "--resume")
            self.assertEqual(weights(out), expected[0], f"resumed from step {resumed_from[-1]}")
            self.assertEqual(losses(out), expected[1])
            self.assertEqual(len(checkpoints(out)), 2)
            self.assertFalse(being_written(out), "what the killed process left behind")
            shutil.rmtree(out)
        print(f"{KILLS} kills, {in_saving} of them while a checkpoint was written; resumed from steps {sorted(resumed_from)}")
        self.assertGreaterEqual(in_saving, 5)
        self.assertGreater(len(set(resumed_from)), 5)


class Stopped(Training):
    def test_sigterm_and_ctrl_c_save_and_stop(self):
        self.run_training(self.out / "straight", *RUN)
        for which in (signal.SIGTERM, signal.SIGINT):
            out = self.out / which.name
            process = self.start(training(out, "--epochs", 2, "--save_interval", 0))
            wait_until(lambda: len(losses(out)) >= 5, 300, "five steps")
            process.send_signal(which)
            told = self.finish(process, 128 + which)
            self.assertIn("stopped and saved", told)
            self.assertEqual(len(checkpoints(out)), 1)
            self.assertLess(len(losses(out)), STEPS)
            self.run_training(out, "--epochs", 2, "--resume")
            self.assertEqual(weights(out), weights(self.out / "straight"))
            self.assertIn("resuming with 2 threads after 1", self.run_training(out, "--epochs", 2, "--resume", "--threads", 2))


    def test_a_stop_while_steps_fail_leaves_what_was_learned(self):
        out = self.out / "run"
        self.run_training(out, *RUN)
        before = {path: path.read_bytes() for path in [*checkpoints(out), out / "32_vlm_pretrain.pth"]}
        for how in ("--resume", "--overwrite"):
            process = self.start(training(out, "--epochs", 1000, how, "--learning_rate", "1e30", "--warmup_iters", 0, "--grad_clip", 0, "--max_bad_steps", 100000))
            wait_until(lambda: self.told(process).count("step skipped") >= 50, 300, "fifty bad steps")
            process.terminate()
            told = self.finish(process, 128 + signal.SIGTERM)
            self.assertIn("stopped, not saved", told)
            self.assertIn("the weights of this step were not written", told)
            self.assertEqual({path: path.read_bytes() for path in [*checkpoints(out), out / "32_vlm_pretrain.pth"]}, before)


class BadDisk(Training):
    def stop_after(self, out, steps):
        process = self.start(training(out, *RUN))
        wait_until(lambda: len(losses(out)) >= steps, 300, f"{steps} steps")
        process.terminate()
        self.finish(process, 128 + signal.SIGTERM)

    def test_a_full_disk_is_named_and_the_older_checkpoint_stands(self):
        self.run_training(self.out / "straight", *RUN)
        out = self.out / "run"
        self.stop_after(out, 3)
        before = {path: path.read_bytes() for path in checkpoints(out)}
        self.assertEqual(len(before), 2)
        limit = len(next(iter(before.values()))) // 2
        command = ["python3", "-c", "import os, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
                   f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); os.execv(sys.argv[1], sys.argv[1:])", *training(out, *RUN, "--resume")]
        told = self.finish(self.start(command), 1)
        errors = [line for line in told.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, told)
        self.assertIn("step_0", errors[0])
        self.assertIn("cannot be written: File too large", errors[0])
        self.assertEqual({path: path.read_bytes() for path in checkpoints(out)}, before)
        self.run_training(out, *RUN, "--resume")
        self.assertEqual(weights(out), weights(self.out / "straight"))

    @unittest.skipUnless(can_mount(), "NOT RUN: this machine does not let us mount a tmpfs")
    def test_a_file_system_that_fills_up_or_turns_read_only_is_named(self):
        self.run_training(self.out / "straight", *RUN)
        size = checkpoints(self.out / "straight")[0].stat().st_size
        disk = self.out / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size * 5 // 2}", "tmpfs", disk], check=True)
        try:
            told = self.run_training(disk / "run", *RUN, code=1)
            self.assertIn("cannot be written: No space left on device", told)
            self.assertGreaterEqual(len(checkpoints(disk / "run")), 1)
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            told = self.run_training(disk / "run", *RUN, "--resume", code=1)
            self.assertIn("Read-only file system", told)
            subprocess.run(["mount", "-o", f"remount,rw,size={size * 8}", disk], check=True)
            self.run_training(disk / "run", *RUN, "--resume")
            self.assertEqual(weights(disk / "run"), weights(self.out / "straight"))
        finally:
            subprocess.run(["umount", "-l", disk], check=True)

    def test_truncated_and_foreign_checkpoints(self):
        self.run_training(self.out / "straight", *RUN)
        out = self.out / "run"
        self.stop_after(out, 5)
        newest = checkpoints(out)[-1]
        whole = newest.read_bytes()
        foreign = checkpoints(out)[0].parent.parent / "foreign.safetensors"
        foreign.write_bytes((pathlib.Path(__file__).resolve().parents[2] / "data/sample/clip/model.safetensors").read_bytes())
        told = self.run_training(out, *RUN, "--resume", foreign, code=1)
        self.assertIn("expected a training checkpoint", told)
        self.assertIn("foreign.safetensors", told)
        cut = out / "cut.safetensors"
        for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
            cut.write_bytes(whole[:size])
            self.assertIn("cut.safetensors", self.run_training(out, *RUN, "--resume", cut, code=1))
        newest.write_bytes(whole[: len(whole) // 2])
        told = self.run_training(out, *RUN, "--resume")
        self.assertIn("trying the checkpoint before it", told)
        self.assertEqual(weights(out), weights(self.out / "straight"))


if __name__ == "__main__":
    main()
