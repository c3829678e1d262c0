#!/usr/bin/env python3
"""`--processes N`: ranks of one host without another launcher. See train_programs.py."""
import os
import pathlib
import signal
import time

from train_programs import Training, checkpoints, free_port, losses, main, training, wait_until, weights

RUN = ["--epochs", "2", "--save_interval", "1"]
LIMIT = 30  # seconds from a lost rank to the end of the group


def ranks_of(launcher):
    """The ranks' processes, by rank."""
    children = pathlib.Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    found = {}
    for pid in map(int, children):
        for entry in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"RANK="):
                found[int(entry[5:])] = pid
    return found


class Processes(Training):
    def start_pair(self, out, *extra):
        return self.start(training(out, "--processes", 2, *extra))

    def test_two_equal_two_of_another_launcher_and_one(self):
        pair, other, one = self.out / "pair", self.out / "other", self.out / "one"
        told = self.finish(self.start_pair(pair, *RUN))
        self.assertEqual(told.count("finished: 12 micro-steps"), 1, told)
        port = free_port()
        for process in [self.start(training(other, *RUN), RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
                        for rank in (0, 1)]:
            self.finish(process)
        self.assertEqual(weights(pair), weights(other))
        self.assertEqual(losses(pair), losses(other))
        self.run_training(one, *RUN, "--batch_size", 8)
        self.assertEqual(len(losses(one)), len(losses(pair)))
        for (step, loss), (_, expected) in zip(losses(pair), losses(one)):
            self.assertLess(abs(loss - expected), 1e-5 * expected, f"step {step}")

    def test_a_killed_rank_ends_the_other_and_is_named(self):
        for lost in (1, 0):
            out = self.out / f"lost{lost}"
            launcher = self.start_pair(out, "--epochs", 1000)
            wait_until(lambda: len(losses(out)) >= 3, 300, "three steps")
            ranks = ranks_of(launcher)
            os.kill(ranks[lost], signal.SIGKILL)
            told = self.finish(launcher, 128 + signal.SIGKILL, LIMIT)
            self.assertRegex(told, rf"rank {lost} of 2 \(process \d+\) was killed by signal 9")
            self.assertFalse(any(os.path.exists(f"/proc/{pid}") for pid in ranks.values()))

    def test_a_stop_signal_saves_and_ends_all(self):
        for which in (signal.SIGTERM, signal.SIGINT):
            out = self.out / which.name
            launcher = self.start_pair(out, "--epochs", 1000, "--save_interval", 0)
            wait_until(lambda: len(losses(out)) >= 3, 300, "three steps")
            launcher.send_signal(which)
            told = self.finish(launcher, 128 + which, LIMIT)
            self.assertIn("stopped and saved", told)
            self.assertEqual(len(checkpoints(out)), 1)

    def test_a_killed_launcher_leaves_no_rank(self):
        out = self.out / "run"
        launcher = self.start_pair(out, "--epochs", 1000)
        wait_until(lambda: len(losses(out)) >= 3, 300, "three steps")
        ranks = ranks_of(launcher)
        launcher.kill()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in ranks.values()), LIMIT, "the ranks' end")

    def test_an_error_is_shown_with_its_cause(self):
        started = time.monotonic()
        told = self.finish(self.start_pair(self.out / "run", "--data_path", self.out / "nowhere.json"), 1, LIMIT)
        self.assertIn("nowhere.json", told)
        self.assertLess(time.monotonic() - started, LIMIT)

    def test_another_launcher_is_refused(self):
        process = self.start(training(self.out / "run", "--processes", 3), RANK=0, LOCAL_RANK=0, WORLD_SIZE=2, MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
        self.assertIn("--processes 3: expected no other launcher, found one with 2 processes", self.finish(process, 1, LIMIT))


if __name__ == "__main__":
    main()
