#!/usr/bin/env python3
"""Speed of training and decoding beside busy loops. Called by `scripts/bench.sh busy`.
A fair share beside N loops is threads / (threads + N) of the speed alone on as many CPUs as threads. Each process runs through all loads, alone before and after;
a second one spins as libgomp does by default, for the loss on an idle machine. The last line is a JSON object.
usage: busy_bench.py WORK --bin DIR [--threads 2] [--seconds 4] [--rounds 3]"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

SPINNING = {"GOMP_SPINCOUNT": "300000"}  # libgomp's default, which switches our watch off
TRAINING = "--max_seq_len 256 --batch_size 16 --num_workers 1 --dtype float32 --warmup_iters 50 --log_interval 2 --save_interval 1000000 --keep_last 1".split()


class Loops:
    """Busy loops, each in a session of its own, so that sched_autogroup counts them as other users' programs."""

    def __init__(self):
        self.running = []

    def set(self, count):
        while len(self.running) > count:
            loop = self.running.pop()
            loop.kill()
            loop.wait()
        while len(self.running) < count:
            self.running.append(subprocess.Popen(["sh", "-c", "while :; do :; done"], start_new_session=True))
        time.sleep(1.5)  # until the program has seen it


def training_command(binaries, work, out, *extra):
    sample = work / "sample"
    return [str(part) for part in (binaries / "sft_vlm", *TRAINING, "--tokenizer", sample / "tokenizer.model", "--clip_dir", sample / "clip",
                                   "--images_dir", sample / "images", "--data_path", sample / "few.json", "--out_dir", out, "--init_from", "none", *extra)]


def make_files(binaries, work):
    """A sample of the quickstart's kind, and a model of 512+8 for decoding."""
    if (work / ".complete").exists():
        return
    shutil.rmtree(work, ignore_errors=True)
    subprocess.run([binaries / "make_sample_data", "--out", work / "sample", "--pictures", "1000", "--pairs", "10", "--held_out", "10",
                    "--unseen", "4", "--held_out_pairs", "2"], check=True, stdout=subprocess.DEVNULL)
    samples = json.loads((work / "sample/sft.json").read_text())
    (work / "sample/few.json").write_text(json.dumps(samples[:480]))
    subprocess.run(training_command(binaries, work, work, "--dim", "512", "--n_layers", "8", "--n_heads", "16", "--n_kv_heads", "8", "--max_steps", "1"),
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (work / ".complete").touch()


class Train:
    """Samples per second of the sample's tuning, with its features in memory."""
    unit = "samples/s"

    def __init__(self, arguments, environment):
        self.out = arguments.work / "run"
        shutil.rmtree(self.out, ignore_errors=True)
        command = training_command(arguments.bin, arguments.work, self.out, *"--dim 128 --n_layers 3 --n_heads 4 --n_kv_heads 2 --epochs 100000".split(),
                                   "--threads", arguments.threads)
        self.process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_for(20)  # the first epoch encodes the images

    def records(self):
        path = self.out / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []

    def wait_for(self, count):
        end = time.monotonic() + 120
        while len(self.records()) < count:
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"error: {self.out}: expected {count} records of a training, found {len(self.records())}")
            time.sleep(0.05)

    def speed(self, seconds):
        before = len(self.records())
        time.sleep(seconds)
        self.wait_for(before + 1)
        rates = [record["samples_per_second"] for record in self.records()[before:]]
        return statistics.harmonic_mean(rates)

    def end(self):
        self.process.kill()
        self.process.wait()


class Decode:
    """Tokens per second of a model of 512+8 in float32."""
    unit = "tokens/s"

    def __init__(self, arguments, environment):
        command = [arguments.bin / "chat_bench", "decode", arguments.work / "512_vlm_sft.pth", "float32", str(arguments.threads), "70"]
        self.process = subprocess.Popen(command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        self.speed(0.5)

    def speed(self, seconds):
        rates, end = [], time.monotonic() + seconds
        while not rates or time.monotonic() < end:
            self.process.stdin.write("decode 20\n")
            self.process.stdin.flush()
            rates.append(json.loads(self.process.stdout.readline())["tokens_per_second"])
        return statistics.harmonic_mean(rates)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def measure(kind, arguments, environment, loads):
    """Speeds by number of loops."""
    loops, speeds = Loops(), {}
    work = kind(arguments, environment)
    try:
        for count in loads:
            loops.set(count)
            speeds.setdefault(count, []).append(work.speed(arguments.seconds))
    finally:
        loops.set(0)
        work.end()
    return speeds


def report(kind, arguments):
    speeds, spinning = {}, {}
    for number in range(arguments.rounds):
        for into, environment in ((speeds, {}), (spinning, SPINNING)) if number % 2 == 0 else ((spinning, SPINNING), (speeds, {})):
            for count, values in measure(kind, arguments, environment, (0, 2, 4, 0)).items():
                into.setdefault(count, []).extend(values)
        print(f"{kind.__name__.lower()} round {number + 1}: " + ", ".join(
            f"{name} " + " ".join(f"{count} loops {values[-1]:.0f}" for count, values in sorted(result.items()))
            for name, result in (("ours", speeds), ("spinning", spinning))) + f" {kind.unit}", file=sys.stderr, flush=True)
    medians = {name: {count: statistics.median(values) for count, values in result.items()} for name, result in (("ours", speeds), ("spinning", spinning))}
    result = {"alone": round(medians["ours"][0], 1), "idle_loss": round(1 - medians["ours"][0] / medians["spinning"][0], 3)}
    for count in (2, 4):
        fair = medians["spinning"][0] * arguments.threads / (arguments.threads + count)
        result[f"beside_{count}"] = round(medians["ours"][count], 1)
        result[f"fair_share_{count}"] = round(medians["ours"][count] / fair, 3)
        result[f"spinning_fair_share_{count}"] = round(medians["spinning"][count] / fair, 3)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["train", "decode"])
    arguments = parser.parse_args()
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        os.environ.pop(name, None)
    make_files(arguments.bin, arguments.work)
    kinds = {"train": Train, "decode": Decode}
    print(json.dumps({name: report(kind, arguments) for name, kind in kinds.items() if arguments.only in (None, name)}))


if __name__ == "__main__":
    main()
