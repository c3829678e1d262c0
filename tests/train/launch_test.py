#!/usr/bin/env python3
"""Groups of processes under several launchers: torchrun, SLURM's and MPI's environments, lost ranks, restarts, stops. See train_programs.py."""
import json
import os
import pathlib
import shlex
import signal
import subprocess
import time
import unittest

from train_programs import SAMPLE, TORCHRUN, Training, checkpoints, free_port, losses, main, metrics, training, wait_until, weights

RUN = ["--epochs", "2", "--save_interval", "1"]
STEPS = 12  # of each of two ranks
LONGER = ["--epochs", "8", "--save_interval", "1"]  # leaves time to kill a rank in the middle
LIMIT = 30  # seconds from a lost rank to the end of the group


def environment_of(pid):
    try:
        parts = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(part.decode().split("=", 1) for part in parts if b"=" in part)


def process_of_rank(rank, out, program="pretrain_vlm"):
    """The training process of that rank which writes to `out`."""
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if command[0].endswith(program.encode()) and str(out).encode() in command and environment_of(pid).get("RANK") == str(rank):
            return pid
    return None


def under_slurm(rank, port):
    return {"SLURM_PROCID": rank, "SLURM_NTASKS": 2, "SLURM_LOCALID": rank, "SLURM_JOB_ID": port - 20000, "SLURM_JOB_NODELIST": "localhost"}


def under_open_mpi(rank, port):
    return {"OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_SIZE": 2, "OMPI_COMM_WORLD_LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def under_mpich(rank, port):
    return {"PMI_RANK": rank, "PMI_SIZE": 2, "MPI_LOCALRANKID": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


class Groups(Training):
    def torchrun(self, *arguments, processes=2):
        return [str(TORCHRUN), "--no-python", "--nproc_per_node", str(processes), *map(str, arguments)]

    def start_pair(self, launcher, out, *extra):
        port = 20000 + free_port() % 10000
        return [self.start(training(out, *extra), **launcher(rank, port)) for rank in (0, 1)]


class OtherLaunchers(Groups):
    def test_slurm_and_mpi_start_the_same_group(self):
        results = []
        for launcher in (under_slurm, under_open_mpi, under_mpich):
            out = self.out / launcher.__name__
            for process in self.start_pair(launcher, out, *RUN):
                self.finish(process)
            self.assertEqual(len(losses(out)), STEPS)
            results.append((weights(out), losses(out)))
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])

    def test_a_killed_rank_is_named_by_the_others(self):
        for lost in (1, 0):
            out = self.out / f"lost{lost}"
            ranks = self.start_pair(under_open_mpi, out, "--epochs", 1000)
            wait_until(lambda: len(losses(out)) >= 3, 300, "three steps")
            ranks[lost].kill()
            start = time.monotonic()
            told = self.finish(ranks[1 - lost], 1, LIMIT)
            self.assertLess(time.monotonic() - start, LIMIT)
            self.assertRegex(told, rf"error: .*rank {lost}[ ,(].*(has not been heard from|does not answer).*killed")
            print(f"rank {lost} killed: the other ended after {time.monotonic() - start:.1f} s")

    def test_waiting_is_a_share_of_the_time_between_two_lines(self):
        """A rank that comes late is waited for before the first step: no part of any step's time."""
        out = self.out / "run"
        port = free_port()
        ranks = [self.start(training(out, *RUN), **under_open_mpi(0, port))]
        time.sleep(3)
        ranks.append(self.start(training(out, *RUN), **under_open_mpi(1, port)))
        for process in ranks:
            self.finish(process)
        shares = [record["reduce_wait_share"] for record in metrics(out)]
        self.assertEqual(len(shares), STEPS)
        self.assertTrue(all(0 <= share <= 1 for share in shares), shares)

    def test_a_stopped_rank_counts_as_lost(self):
        out = self.out / "run"
        ranks = self.start_pair(under_open_mpi, out, "--epochs", 1000)
        wait_until(lambda: len(losses(out)) >= 3, 300, "three steps")
        ranks[1].send_signal(signal.SIGSTOP)
        told = self.finish(ranks[0], 1, LIMIT)
        self.assertRegex(told, r"error: rank 0 of 2: rank 1 \(process \d+ on .*\) has not been heard from")

    def test_a_rank_that_fails_tells_the_others_why(self):
        out = self.out / "run"
        port = free_port()
        ranks = [self.start(training(out, *RUN), **under_open_mpi(0, port)),
                 self.start(training(out, *RUN, "--data_path", self.out / "nowhere.json"), **under_open_mpi(1, port))]
        self.assertIn("nowhere.json", self.finish(ranks[1], 1, LIMIT))
        self.assertRegex(self.finish(ranks[0], 1, LIMIT), r"error: .*rank 1 has ended: .*nowhere.json")

    def test_a_rank_with_other_options_or_data_is_named_by_all(self):
        samples = json.loads((SAMPLE / "pretrain.json").read_text())
        (self.out / "reversed.json").write_text(json.dumps(samples[::-1]))
        for extra, cause in ((["--batch_size", 2], r"--batch_size 2 \(rank 0: 4\)"), (["--epochs", 3], r"--epochs 3 \(rank 0: 2\)"),
                             (["--data_path", self.out / "reversed.json"], "found --data_path: 48 samples, digest")):
            ranks = [self.start(training(self.out / "run", *RUN, *(extra if rank == 1 else [])), **under_open_mpi(rank, port))
                     for port in [free_port()] for rank in (0, 1)]
            for process in ranks:
                self.assertRegex(self.finish(process, 1, LIMIT), f"error: rank 1 of 2: expected .*{cause}")
            self.assertEqual(losses(self.out / "run"), [])

    def test_a_stop_signal_to_one_rank_stops_all_at_the_same_step(self):
        for which, rank in ((signal.SIGTERM, 0), (signal.SIGINT, 1)):
            out = self.out / which.name
            ranks = self.start_pair(under_open_mpi, out, "--epochs", 1000, "--save_interval", 0)
            wait_until(lambda: len(losses(out)) >= 5, 300, "five steps")
            ranks[rank].send_signal(which)
            for process in ranks:
                process.wait(60)
            # A launcher takes another code for another failure.
            self.assertEqual([process.returncode for process in ranks], [128 + which] * 2, self.told(ranks[rank]))
            self.assertIn("stopped and saved", self.told(ranks[0]))
            self.assertEqual(len(checkpoints(out)), 1)

    def test_another_number_of_ranks_goes_on_with_the_same_samples(self):
        """12 groups an epoch: five steps of two ranks are ten groups, then one rank takes the rest."""
        two, one = self.out / "two", self.out / "one"
        for process in self.start_pair(under_open_mpi, two, "--epochs", 1, "--max_steps", 5):
            self.finish(process)
        told = self.run_training(two, "--epochs", 1, "--resume")
        self.assertIn("resuming from", told)
        steps = [step for step, _ in losses(two)]
        self.assertEqual(steps[-1], 12)
        # Five steps with two ranks, then steps 11 and 12 with one: no group twice, none left out.
        self.assertIn("8 samples", told)


@unittest.skipUnless(TORCHRUN.exists(), f"NOT RUN: no torchrun at {TORCHRUN}")
class Torchrun(Groups):
    def test_a_killed_rank_ends_the_group(self):
        for extra in (["--standalone"], ["--master_port", free_port()]):
            out = self.out / f"run{len(extra)}"
            process = self.start(self.torchrun(*extra, *training(out, "--epochs", 1000)))
            wait_until(lambda: len(losses(out)) >= 3, 300, "three steps")
            victim = process_of_rank(1, out)
            os.kill(victim, signal.SIGKILL)
            start = time.monotonic()
            told = self.finish(process, 1, LIMIT)
            print(f"{extra[0]}: ended after {time.monotonic() - start:.1f} s")
            self.assertIn("SIGKILL", told)
            self.assertRegex(told, r"rank\s*: 1|local_rank: 1")

    def test_a_killed_rank_is_restarted_and_the_run_ends_with_the_same_bytes(self):
        straight = self.out / "straight"
        self.finish(self.start(self.torchrun("--standalone", *training(straight, *RUN))))
        for name, extra, environment in (("standalone", ["--standalone"], {}), ("static", ["--master_port", free_port()], {}),
                                         ("dead_store", ["--standalone"], {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": 1})):
            out = self.out / name
            # An earlier run's checkpoints in the same folder are not this run's.
            self.run_training(out, "--max_steps", 3, "--save_interval", 1)
            process = self.start(self.torchrun(*extra, "--max-restarts", 3, *training(out, *RUN, "--overwrite")), **environment)
            for rank, steps in ((1, 4), (0, 8)):
                wait_until(lambda: len(losses(out)) >= steps and losses(out)[-1][0] >= steps and process_of_rank(rank, out), 300, f"{steps} steps")
                os.kill(process_of_rank(rank, out), signal.SIGKILL)
                time.sleep(0.2)
            told = self.finish(process)
            # A store that dies takes the run's id along: the run starts again from its beginning.
            if name == "dead_store":
                self.assertNotIn("resuming from", told)
            else:
                self.assertGreaterEqual(told.count("resuming from"), 2, told)
            self.assertEqual(losses(out), losses(straight))
            self.assertEqual(weights(out), weights(straight))

    def test_one_process_alone_is_restarted_too(self):
        script = self.out / "train.sh"
        script.write_text('#!/bin/sh\n"$@"\nexit $?\n')
        script.chmod(0o755)
        for wrapper in ([], [script]):
            out = self.out / f"run{len(wrapper)}"
            self.run_training(out, "--max_steps", 3, "--save_interval", 1)
            process = self.start(self.torchrun("--standalone", "--max-restarts", 1, *wrapper, *training(out, *LONGER, "--overwrite"), processes=1))
            wait_until(lambda: losses(out) and 4 <= losses(out)[-1][0] and process_of_rank(0, out), 300, "four steps")
            os.kill(process_of_rank(0, out), signal.SIGKILL)
            told = self.finish(process)
            self.assertEqual(told.count("resuming from"), 1, told)
            self.assertEqual([step for step, _ in losses(out)], list(range(1, 8 * STEPS + 1)))

    def test_launchers_that_count_for_themselves_meet_again(self):
        """With an elastic rendezvous the launcher of the killed rank counts a restart, the other one does not."""
        straight = self.out / "straight"
        self.finish(self.start(self.torchrun("--standalone", *training(straight, *LONGER))))
        for name, environment in (("served", {}), ("dead_store", {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": 1})):
            out = self.out / name
            self.run_training(out, "--max_steps", 3, "--save_interval", 1)
            hosts = [self.start(self.torchrun("--nnodes", 2, "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "job",
                                              "--max-restarts", 1, *training(out, *LONGER, "--overwrite"), processes=1), **environment)
                     for port in [free_port()] for _ in range(2)]
            wait_until(lambda: len(losses(out)) >= 4 and process_of_rank(1, out), 300, "four steps")
            os.kill(process_of_rank(1, out), signal.SIGKILL)
            told = "".join(self.finish(host) for host in hosts)
            self.assertEqual(told.count("resuming from"), 0 if name == "dead_store" else 1, told)
            self.assertNotIn("connectFullMesh", told)
            self.assertEqual(losses(out), losses(straight))
            self.assertEqual(weights(out), weights(straight))

    def test_a_script_that_trains_twice_is_no_restart(self):
        script = self.out / "twice.sh"
        script.write_text('#!/bin/sh\n"$@" && "$@"\n')
        script.chmod(0o755)
        out = self.out / "run"
        told = self.finish(self.start(self.torchrun("--standalone", script, *training(out, *RUN, "--overwrite"))))
        self.assertNotIn("resuming from", told)
        self.assertEqual(told.count("finished: 12 micro-steps"), 2, told)

    def test_a_restarted_script_of_two_stages_goes_on_with_the_second(self):
        out = self.out / "run"
        stages = [training(out, *RUN), training(out, *LONGER, program="sft_vlm", data="sft.json")]
        script = self.out / "stages.sh"
        script.write_text("#!/bin/sh\n" + " && ".join(shlex.join(stage) for stage in stages) + "\n")
        script.chmod(0o755)
        process = self.start(self.torchrun("--standalone", "--max-restarts", 1, script))
        second = lambda: [record["step"] for record in metrics(out) if record["stage"] == "sft"]
        wait_until(lambda: len(second()) >= 4 and process_of_rank(1, out, "sft_vlm"), 300, "four steps of the second stage")
        first = weights(out)
        os.kill(process_of_rank(1, out, "sft_vlm"), signal.SIGKILL)
        told = self.finish(process)
        self.assertIn("finished before: 12 micro-steps", told)
        self.assertEqual(told.count("resuming from"), 1, told)  # rank 0 speaks for all
        self.assertEqual(weights(out), first)
        self.assertEqual(second(), list(range(1, second()[-1] + 1)))
        # Without a restart the script is a new run, which replaces nothing unasked.
        self.assertIn("--overwrite", self.finish(self.start(self.torchrun("--standalone", script)), 1))

    def test_sigterm_to_the_launcher_saves(self):
        out = self.out / "run"
        process = self.start(self.torchrun("--standalone", *training(out, "--epochs", 1000, "--save_interval", 0)))
        wait_until(lambda: len(losses(out)) >= 3, 300, "three steps")
        process.terminate()
        process.wait(LIMIT)
        wait_until(lambda: process_of_rank(0, out) is None, LIMIT, "the end of rank 0")
        self.assertEqual(len(checkpoints(out)), 1, self.told(process))


def can_make_hosts():
    try:
        if subprocess.run(["ip", "netns", "add", "mmprobe"], capture_output=True).returncode != 0:
            return False
        subprocess.run(["ip", "netns", "del", "mmprobe"], check=True)
        return True
    except FileNotFoundError:
        return False


@unittest.skipUnless(TORCHRUN.exists(), f"NOT RUN: no torchrun at {TORCHRUN}")
@unittest.skipUnless(can_make_hosts(), "NOT RUN: this machine does not let us make network namespaces (ip netns)")
class TwoHosts(Groups):
    """Two network namespaces joined by a virtual cable."""
    NAMES = [f"mm{os.getpid()}a", f"mm{os.getpid()}b"]
    ADDRESSES = ["10.213.7.1", "10.213.7.2"]

    def setUp(self):
        super().setUp()
        cable = [f"v{os.getpid()}a", f"v{os.getpid()}b"]
        self.ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for name, end, address in zip(self.NAMES, cable, self.ADDRESSES):
            self.ip("netns", "add", name)
            self.ip("link", "set", end, "netns", name)
            self.ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            self.ip("-n", name, "link", "set", end, "up")
            self.ip("-n", name, "link", "set", "lo", "up")
        self.cable = cable

    def tearDown(self):
        super().tearDown()
        for name in self.NAMES:
            self.ip("netns", "del", name)

    def ip(self, *arguments):
        subprocess.run(["ip", *arguments], check=True)

    def start_hosts(self, out, *extra, launcher=()):
        """Each host has an output folder of its own, as without a shared file system; rank 0's is `out`/0."""
        port = free_port()
        return [self.start(["ip", "netns", "exec", name, str(TORCHRUN), "--no-python", "--nproc_per_node", "1", "--nnodes", "2", "--node_rank", str(node),
                            "--master_addr", self.ADDRESSES[0], "--master_port", str(port), *map(str, launcher), *training(out / str(node), *extra)])
                for node, name in enumerate(self.NAMES)]

    def test_train_like_two_processes_of_one_host_and_resume(self):
        for process in self.start_pair(under_open_mpi, self.out / "local", *RUN):
            self.finish(process)
        out = self.out / "hosts"
        hosts = self.start_hosts(out, *RUN)
        wait_until(lambda: len(losses(out / "0")) >= 4, 300, "four steps")
        os.kill(process_of_rank(0, out / "0"), signal.SIGTERM)
        for process in hosts:
            process.wait(60)
        self.assertEqual(checkpoints(out / "1"), [])
        # Only the first host has the checkpoint.
        for process in self.start_hosts(out, *RUN, "--resume"):
            self.finish(process)
        self.assertEqual(weights(out / "0"), weights(self.out / "local"))

    def test_a_cut_cable_ends_both(self):
        out = self.out / "hosts"
        hosts = self.start_hosts(out, "--epochs", 1000)
        wait_until(lambda: len(losses(out / "0")) >= 3, 300, "three steps")
        ranks = [process_of_rank(node, out / str(node)) for node in (0, 1)]
        self.ip("-n", self.NAMES[1], "link", "set", self.cable[1], "down")
        start = time.monotonic()
        for rank in ranks:
            wait_until(lambda: not os.path.exists(f"/proc/{rank}") or environment_of(rank) == {}, LIMIT + 5, "the ranks' end")
        seconds = time.monotonic() - start
        print(f"cable cut: both ranks ended after {seconds:.1f} s")
        self.assertLess(seconds, LIMIT)
        self.assertRegex(self.told(hosts[0]), r"rank 1 .*has not been heard from")
        self.assertRegex(self.told(hosts[1]), r"does not answer|has not been heard from")
        for process in hosts:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
