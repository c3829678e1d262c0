#!/usr/bin/env python3
"""Ranks on two make-believe cards, with a stand-in for NCCL (tests/support/fake_cuda). See train_programs.py.
Environment: MINIMIND_FAKE_CUDA, the library to load before the programs."""
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "train"))
from train_programs import Training, free_port, losses, main, training, wait_until

LIBRARY = os.environ["MINIMIND_FAKE_CUDA"]
RUN = ["--epochs", "1", "--save_interval", "0", "--dtype", "float32"]
STEPS = 6  # of each of two ranks


class TwoCards(Training):
    def on_cards(self, **environment):
        return {"LD_PRELOAD": LIBRARY, "STAND_IN_NCCL_LOG": self.out / "ends.txt", **environment}

    def start_pair(self, out, *extra, launcher=None, device="cuda", of_rank=lambda rank: {}, **environment):
        port = 20000 + free_port() % 10000
        launcher = launcher or (lambda rank: {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1",
                                              "MASTER_PORT": port})
        return [self.start(training(out, *RUN, "--device", device, *extra), **self.on_cards(**launcher(rank), **environment, **of_rank(rank)))
                for rank in (0, 1)]

    def ends(self):
        """What the stand-ins have noted, sorted: how they ended, rank, card, number of collectives."""
        path = self.out / "ends.txt"
        return sorted(path.read_text().splitlines()) if path.exists() else []

    def assert_ends(self, *patterns):
        found = self.ends()
        self.assertEqual(len(found), len(patterns), found)
        for line, pattern in zip(found, sorted(patterns)):
            self.assertRegex(line, pattern)

    def assert_near(self, found, expected, count=STEPS, tolerance=1e-5):
        self.assertEqual(len(found), count)
        self.assertEqual(len(expected), count)
        for (step, a), (_, b) in zip(found, expected):
            self.assertLessEqual(abs(a - b), tolerance * b, f"step {step}: {a} against {b}")

    def test_losses_equal_those_of_one_card_with_the_double_batch_and_of_two_cpus(self):
        two, cpus, one = self.out / "two", self.out / "cpus", self.out / "one"
        for process in self.start_pair(two, of_rank=lambda rank: {"FAKE_CUDA_REPORT": self.out / f"report{rank}"}):
            self.finish(process)
        self.assert_ends("shutdown: rank 0 of 2 on cuda:0, [1-9][0-9]* allreduces", "shutdown: rank 1 of 2 on cuda:1, [1-9][0-9]* allreduces")
        for process in self.start_pair(cpus, device="cpu"):
            self.finish(process)
        self.assertEqual(len(self.ends()), 2, "CPU ranks need no NCCL")
        self.finish(self.start(training(one, *RUN, "--device", "cuda:1", "--batch_size", 8), **self.on_cards()))
        self.assert_near(losses(two), losses(cpus))
        self.assert_near(losses(two), losses(one))
        for rank in (0, 1):
            report = (self.out / f"report{rank}").read_text()
            self.assertIn("\nsum_misplaced 0\n", report, f"rank {rank} has used its card while another one was current")
            self.assertRegex(report, rf"peak_bytes_{rank} [1-9]")
            self.assertIn(f"peak_bytes_{1 - rank} 0\n", report)

    def test_the_program_s_own_launcher_gives_each_rank_a_card(self):
        out = self.out / "run"
        self.finish(self.start(training(out, *RUN, "--device", "cuda", "--processes", 2), **self.on_cards()))
        self.assertEqual(len(losses(out)), STEPS)
        self.assert_ends("shutdown: rank 0 of 2 on cuda:0", "shutdown: rank 1 of 2 on cuda:1")

    def test_too_many_local_ranks_and_a_named_card_are_refused(self):
        for device, ranks, cause in (("cuda:1", 2, "--device cuda:1: expected a GPU for each of the 2 processes"),
                                     ("cuda", 3, "expected at most one process for each GPU, found 3 processes and 2 GPUs")):
            told = self.finish(self.start(training(self.out / "run", *RUN, "--device", device, "--processes", ranks), **self.on_cards()), 1)
            self.assertIn(cause, told)

    def test_a_launcher_may_show_each_task_one_card(self):
        out, port = self.out / "run", 20000 + free_port() % 10000
        slurm = lambda rank: {"SLURM_PROCID": rank, "SLURM_NTASKS": 2, "SLURM_LOCALID": rank, "SLURM_NTASKS_PER_NODE": 2, "SLURM_JOB_ID": port - 20000,
                              "SLURM_JOB_NODELIST": "localhost"}
        for process in self.start_pair(out, launcher=slurm, FAKE_CUDA_DEVICES=1):
            self.finish(process)
        self.assertEqual(len(losses(out)), STEPS)
        self.assert_ends("shutdown: rank 0 of 2 on cuda:0", "shutdown: rank 1 of 2 on cuda:0")

    def test_a_rank_out_of_memory_in_its_backward_pass_is_named_by_the_other(self):
        """NCCL does not wake a rank that waits for one which has ended; the stand-in does not either."""
        ranks = self.start_pair(self.out / "run", of_rank=lambda rank: {"STAND_IN_NCCL_OUT_OF_MEMORY_AT": 5} if rank else {})
        told = self.finish(ranks[1], 1)
        start = time.monotonic()
        self.assertRegex(told, r"error: rank 1 of 2: out of memory \(CUDA out of memory.*--batch_size")
        self.assertNotIn("rank 0", told)
        self.assertRegex(self.finish(ranks[0], 1, 20), r"error: rank 0 of 2: .*rank 1 has ended: rank 1 of 2: out of memory")
        self.assertLess(time.monotonic() - start, 10)
        self.assertIn("abort: rank 1 of 2 on cuda:1, 4 allreduces", self.ends())

    def test_a_failed_rank_aborts_and_a_stopped_one_shuts_down(self):
        ranks = self.start_pair(self.out / "failed", of_rank=lambda rank: {}, *["--clip_dir", self.out / "nowhere"])
        for process in ranks:
            self.assertIn("nowhere", self.finish(process, 1))
        self.assert_ends("abort: rank 0 of 2", "abort: rank 1 of 2")
        (self.out / "ends.txt").unlink()
        out = self.out / "stopped"
        ranks = self.start_pair(out, "--epochs", 1000)
        wait_until(lambda: len(losses(out)) >= 3, 120, "three steps")
        ranks[0].send_signal(signal.SIGTERM)
        for process in ranks:
            self.finish(process, 128 + signal.SIGTERM)
        self.assert_ends("shutdown: rank 0 of 2", "shutdown: rank 1 of 2")

    def test_a_group_of_one_rank_for_a_test_uses_the_backend_and_computes_the_same(self):
        alone, grouped = self.out / "alone", self.out / "grouped"
        one_rank = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        self.finish(self.start(training(alone, *RUN, "--device", "cuda:1"), **self.on_cards(**one_rank)))
        self.assertEqual(self.ends(), [])
        self.finish(self.start(training(grouped, *RUN, "--device", "cuda:1"), **self.on_cards(**one_rank, MINIMIND_TEST_GROUP_OF_ONE=1)))
        self.assert_ends("shutdown: rank 0 of 1 on cuda:1, [1-9][0-9]* allreduces")
        self.assertEqual(losses(grouped), losses(alone))
        self.assertEqual(len(losses(alone)), 2 * STEPS)

    def test_rank_0_speaks_for_all(self):
        ranks = self.start_pair(self.out / "run")
        told = [self.finish(process) for process in ranks]
        self.assertIn("finished: ", told[0])
        self.assertEqual([line for line in told[1].splitlines() if not line.startswith("warning: rank 1 of 2: ")], [])


main()
