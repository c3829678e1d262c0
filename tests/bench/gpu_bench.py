#!/usr/bin/env python3
"""Training speed on one NVIDIA card, ours and the peer alternately. Called by `scripts/bench_gpu.sh`.
usage: gpu_bench.py DATA --bin DIR --peer_python PYTHON [--device cuda:0]; a table on stderr, the last line of stdout is a JSON object."""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
MODELS = {"512+8": (512, 8), "768+16": (768, 16)}
WARMUP = 5


def last_json(output):
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])


def one_rank():
    """The environment of a group of one, which makes the run use NCCL."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    return {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments

    def ours(self, model, batch, *extra, environment=None):
        dim, layers = MODELS[model]
        with tempfile.TemporaryDirectory() as out:
            command = [self.arguments.bin / "pretrain_vlm", "--data_path", self.arguments.data / "pretrain.json", "--images_dir", self.arguments.data / "images",
                       "--tokenizer", self.arguments.data / "tokenizer.json", "--clip_dir", self.arguments.data / "clip-vit-base-patch32",
                       "--init_from", "none", "--dim", dim, "--n_layers", layers, "--out_dir", out, "--batch_size", batch, "--epochs", 1000,
                       "--max_steps", self.arguments.steps + WARMUP, "--log_interval", 1, "--save_interval", 1000000, "--save_last", "False",
                       "--device", self.arguments.device, "--dtype", self.arguments.dtype, *extra]
            subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, env={**os.environ, **(environment or {})})
            records = [json.loads(line) for line in next(pathlib.Path(out).rglob("metrics.jsonl")).read_text().splitlines()][WARMUP:]
            return {"samples_per_second": statistics.median(record["samples_per_second"] for record in records),
                    "mfu": statistics.median(record["mfu"] for record in records), "device_memory_mb": records[-1].get("device_memory_mb")}

    def peer(self, model, batch, *extra):
        dim, layers = MODELS[model]
        command = [self.arguments.peer_python, HERE / "train_peer.py", self.arguments.data, "pretrain", "--batch_size", batch, "--dim", dim, "--n_layers", layers,
                   "--steps", self.arguments.steps, "--device", self.arguments.device, "--dtype", self.arguments.dtype, *extra]
        return last_json(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--peer_python", required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 256])
    bench = Bench(parser.parse_args())
    results = {}
    for model in MODELS:
        for batch in bench.arguments.batches:
            ways = {"ours": lambda: bench.ours(model, batch, "--feature_memory_mb", 0), "ours_cached": lambda: bench.ours(model, batch, "--feature_memory_mb", 4000),
                    "ours_nccl": lambda: bench.ours(model, batch, "--feature_memory_mb", 0, environment=one_rank()) if bench.arguments.device != "cpu" else None,
                    "peer": lambda: bench.peer(model, batch), "peer_untrimmed": lambda: bench.peer(model, batch, "--untrimmed")}
            for name, way in ways.items():
                try:
                    result = way()
                except subprocess.CalledProcessError as error:
                    print(f"{model}, batch {batch}, {name}: failed: {(error.stderr or '').strip().splitlines()[-1:]}", file=sys.stderr)
                    result = None
                results[f"{model} {batch} {name}"] = result
                if result:
                    memory, mfu = result.get("device_memory_mb"), result.get("mfu")
                    print(f"| {model} | {batch} | {name} | {result['samples_per_second']:.1f}/s | {'' if mfu is None else f'{100 * mfu:.0f} %'} | "
                          f"{'' if memory is None else f'{memory:.0f} MB'} |", file=sys.stderr, flush=True)
    print(json.dumps(results))


main()
