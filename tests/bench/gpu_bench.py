#!/usr/bin/env python3
"""Training speed on one NVIDIA card, ours and the peer alternately, within a time budget. Called by `scripts/bench_gpu.sh`.
usage: gpu_bench.py DATA --bin DIR [--peer_python PYTHON] [--device cuda:0]; progress and a table on stderr, one JSON object on stdout.
The last line has the results, the ratios of ours to the peer, and under left_out what did not fit into the budget, with the reason."""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
MODELS = {"512+8": (512, 8), "768+16": (768, 16)}
# In the order of their worth: what the budget cuts is the end.
WAYS = ("ours", "peer", "ours_group_of_one", "ours_cached", "peer_cudnn", "peer_untrimmed")
GUESS = 20.0  # seconds of a run before one has been measured


def last_json(output):
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])


def say(text):
    print(text, file=sys.stderr, flush=True)


def group_of_one():
    """The environment of a group of one rank, which makes the run use NCCL; see docs/CONTRIBUTING.md."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    return {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "MINIMIND_TEST_GROUP_OF_ONE": "1"}


def long_list(source, entries, out):
    """The samples again and again, with ids of their own: an epoch of 640 samples would be three steps of 256, and its start would dominate."""
    samples = json.loads(source.read_text())
    out.write_text(json.dumps([{**samples[i % len(samples)], "id": f"{i:06d}"} for i in range(entries)]))
    return out


class Bench:
    def __init__(self, arguments, data_path):
        self.arguments, self.data_path = arguments, data_path
        self.end = time.monotonic() + arguments.budget
        self.longest = {}  # seconds of the longest run of each model
        self.results, self.left_out = {}, []

    def left(self):
        return self.end - time.monotonic()

    def run(self, command, environment=None):
        done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, timeout=max(1, self.left()),
                              env={**os.environ, **(environment or {})})
        return done.stdout

    def ours(self, model, batch, *extra, environment=None):
        dim, layers = MODELS[model]
        options = self.arguments
        with tempfile.TemporaryDirectory() as out:
            self.run([options.bin / "pretrain_vlm", "--data_path", self.data_path, "--images_dir", options.data / "images", "--tokenizer", options.tokenizer,
                      "--clip_dir", options.clip, "--init_from", "none", "--dim", dim, "--n_layers", layers, "--out_dir", out, "--batch_size", batch,
                      "--epochs", 1000, "--max_steps", options.steps + options.warmup, "--log_interval", 1, "--save_interval", 1000000, "--save_last", "False",
                      "--num_workers", options.workers, "--device", options.device, "--dtype", options.dtype, *extra], environment)
            records = [json.loads(line) for line in next(pathlib.Path(out).rglob("metrics.jsonl")).read_text().splitlines()][options.warmup:]
            return {"samples_per_second": statistics.median(record["samples_per_second"] for record in records),
                    "mfu": statistics.median([record["mfu"] for record in records if record.get("mfu") is not None] or [0]), "device_memory_mb": records[-1].get("device_memory_mb")}

    def peer(self, model, batch, *extra):
        dim, layers = MODELS[model]
        options = self.arguments
        return last_json(self.run([options.peer_python, HERE / "train_peer.py", options.data, "pretrain", "--data_path", self.data_path, "--batch_size", batch,
                                   "--dim", dim, "--n_layers", layers, "--steps", options.steps, "--warmup", options.warmup, "--workers", options.workers,
                                   "--device", options.device, "--dtype", options.dtype, *extra]))

    def measure(self, way, model, batch):
        return {"ours": lambda: self.ours(model, batch, "--feature_memory_mb", 0),
                "ours_group_of_one": lambda: self.ours(model, batch, "--feature_memory_mb", 0, environment=group_of_one()),
                "ours_cached": lambda: self.ours(model, batch, "--feature_memory_mb", 4000),
                "peer": lambda: self.peer(model, batch),
                "peer_cudnn": lambda: self.peer(model, batch, "--cudnn_attention"),
                "peer_untrimmed": lambda: self.peer(model, batch, "--untrimmed")}[way]()

    def leave_out(self, name, reason):
        self.left_out.append({"run": name, "reason": reason})
        say(f"{name}: left out: {reason}")

    def step(self, way, model, batch):
        name = f"{model} {batch} {way}"
        if way.startswith("peer") and not self.arguments.peer_python:
            return self.leave_out(name, "no --peer_python")
        if self.left() < self.longest.get(model, GUESS):
            return self.leave_out(name, f"the budget of {self.arguments.budget:.0f} s is spent")
        start = time.monotonic()
        try:
            result = self.results[name] = self.measure(way, model, batch)
        except subprocess.TimeoutExpired:
            return self.leave_out(name, f"cut off by the budget of {self.arguments.budget:.0f} s")
        except subprocess.CalledProcessError as error:
            return self.leave_out(name, f"failed: {' '.join((error.stderr or '').strip().splitlines()[-1:])}")
        self.longest[model] = max(self.longest.get(model, 0), time.monotonic() - start)
        memory, mfu = result.get("device_memory_mb"), result.get("mfu")
        say(f"| {model} | {batch} | {way} | {result['samples_per_second']:.1f}/s | {'' if mfu is None else f'{100 * mfu:.0f} % of peak'} | "
            f"{'' if memory is None else f'{memory:.0f} MB'} | {time.monotonic() - start:.0f} s |")

    def ratios(self):
        found = {}
        for name, result in self.results.items():
            model, batch, way = name.split(" ")
            peer = self.results.get(f"{model} {batch} peer")
            if peer and not way.startswith("peer"):
                found[name] = round(result["samples_per_second"] / peer["samples_per_second"], 3)
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--peer_python", default="", help="without it the peer is left out")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--warmup", type=int, default=30, help="steps before the measurement: nearly each length of a batch has been seen")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=8, help="loader threads of ours, loader processes of the peer")
    parser.add_argument("--entries", type=int, default=20000)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--budget", type=float, default=420, help="seconds of the whole measurement")
    parser.add_argument("--tokenizer", type=pathlib.Path, help="default: tokenizer.json of the data")
    parser.add_argument("--clip", type=pathlib.Path, help="default: clip-vit-base-patch32 of the data")
    parser.add_argument("--tests_failed", type=int, default=0, help="1: the tests before have failed; goes into the result")
    parser.add_argument("--shape", type=int, nargs=2, help="width and layers of all models; for a trial run")
    arguments = parser.parse_args()
    arguments.tokenizer = arguments.tokenizer or arguments.data / "tokenizer.json"
    arguments.clip = arguments.clip or arguments.data / "clip-vit-base-patch32"
    if arguments.shape:
        MODELS.update({model: tuple(arguments.shape) for model in MODELS})
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments, long_list(arguments.data / "pretrain.json", arguments.entries, pathlib.Path(folder) / "pretrain.json"))
        for way in WAYS:
            for model in arguments.models:
                for batch in arguments.batches:
                    if way in arguments.ways:
                        bench.step(way, model, batch)
    print(json.dumps({"results": bench.results, "ratios": bench.ratios(), "left_out": bench.left_out, "device": arguments.device, "dtype": arguments.dtype, "tests_failed": bool(arguments.tests_failed),
                      "seconds": round(time.monotonic() - start, 1)}))


if __name__ == "__main__":
    main()
