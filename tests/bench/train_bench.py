#!/usr/bin/env python3
"""Training speed of ours against the peer, alternately in one run, medians. Called by `scripts/bench.sh train`.
usage: train_bench.py DATA --bin DIR --peer_python PYTHON; the last line is a JSON object of ratios (samples/s ours / peer; memory ours / peer)."""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
MODES = {"f32": "float32", "f32_cached": "float32", "bf16": "bfloat16", "bf16_cached": "bfloat16"}


def last_json(output):
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])


def run(command):
    """Standard output of a command; its messages where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"error: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def run_peer(python, data, kind, batch, steps):
    command = [python, HERE / "train_peer.py", data, kind, "--batch_size", str(batch), "--steps", str(steps)]
    return last_json(run(command))


def has_bfloat16():
    """Whether this processor multiplies bfloat16 itself; emulated products are far slower than float32."""
    return any(flag in pathlib.Path("/proc/cpuinfo").read_text() for flag in ("avx512_bf16", "amx_bf16"))


def run_ours(binaries, data, kind, batch, steps, mode, cache, warmup=3):
    """Median samples/s of the steps after the warm-up, from the run's own metrics; features are cached only where the mode says so."""
    with tempfile.TemporaryDirectory() as out:
        program = binaries / ("pretrain_vlm" if kind == "pretrain" else "sft_vlm")
        command = [program, "--data_path", data / f"{kind}.json", "--images_dir", data / "images", "--tokenizer", data / "tokenizer.json",
                   "--clip_dir", data / "clip-vit-base-patch32", "--init_from", data / "512_llm.pth", "--allow_missing", "vision_proj", "--out_dir", out,
                   "--batch_size", str(batch), "--max_steps", str(steps + warmup), "--log_interval", "1", "--save_minutes", "0",
                   "--learning_rate", "4e-4", "--threads", "2", "--save_last", "False", "--dtype", MODES[mode]]
        command += ["--feature_cache", cache] if mode.endswith("cached") else ["--feature_memory_mb", "0"]
        run(command)
        records = [json.loads(line) for line in next(pathlib.Path(out).rglob("metrics.jsonl")).read_text().splitlines()]
        return {"samples_per_second": statistics.median(record["samples_per_second"] for record in records[warmup:]),
                "peak_rss_mb": max(record["memory_mb"] for record in records)}


def fill_cache(binaries, data, cache, mode):
    """One pass over both data sets with the cache switched on; features of another precision are other entries."""
    for kind in ("pretrain", "sft"):
        samples = len(json.loads((data / f"{kind}.json").read_text()))
        run_ours(binaries, data, kind, 32, -(-samples // 32) - 3, mode, cache)


def loader_per_core(program, data):
    """Samples per second of processor time, JPEG and text to ready batch."""
    command = [program, "--tokenizer", data / "tokenizer.json"]
    return last_json(run(command))["loader_per_core"]


def modes_of(wanted, batch):
    """Of the wanted modes those measured at a batch size, with the steps before and in the measurement."""
    modes = {mode: (3, 8 if batch == 8 else 4) for mode in wanted}
    if not has_bfloat16():
        modes = {mode: (1, 2) if mode.startswith("bf16") else steps for mode, steps in modes.items() if batch == 8 or not mode.startswith("bf16")}
    return modes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--peer_python", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES), help="what is left out is null in the result")
    parser.add_argument("--batches", nargs="+", type=int, choices=[8, 32], default=[8, 32])
    parser.add_argument("--budget", type=float, default=2100, help="seconds; further rounds are left out when it is spent")
    arguments = parser.parse_args()
    start = time.monotonic()
    cache = arguments.data / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    for mode in arguments.modes:
        if mode == "f32_cached" or mode == "bf16_cached" and has_bfloat16():
            fill_cache(arguments.bin, arguments.data, cache, mode)
    speeds, memory = {}, {}
    if not has_bfloat16():
        print("this processor has no bfloat16 products: bfloat16 is measured in one round of 2 steps at batch 8, and not at batch 32 (null)", file=sys.stderr)
    loader = loader_per_core(arguments.bin / "loader_bench", arguments.data)
    print(f"loader alone: {loader} samples/s per core", file=sys.stderr, flush=True)
    for batch, steps, rounds in ((8, 8, arguments.rounds), (32, 4, 1)):
        if batch not in arguments.batches:
            continue
        suffix = "" if batch == 8 else f"_b{batch}"
        for round_number in range(rounds):
            if round_number and time.monotonic() - start > arguments.budget:
                print(f"time is up after {round_number} rounds", file=sys.stderr)
                break
            for kind in ("pretrain", "sft"):
                results = {"peer": run_peer(arguments.peer_python, arguments.data, kind, batch, steps)}
                for mode, (warmup, count) in modes_of(arguments.modes, batch).items():
                    if round_number == 0 or has_bfloat16() or not mode.startswith("bf16"):
                        results[mode] = run_ours(arguments.bin, arguments.data, kind, batch, count, mode, cache, warmup)
                for name, result in results.items():
                    speeds.setdefault((f"{kind}_{name}", suffix), []).append(result["samples_per_second"])
                    memory.setdefault((f"{kind}_{name}", suffix), []).append(result["peak_rss_mb"])
                print(f"batch {batch}, round {round_number + 1}, {kind}: " +
                      ", ".join(f"{name} {result['samples_per_second']:.2f}/s {result['peak_rss_mb']:.0f} MB" for name, result in results.items()),
                      file=sys.stderr, flush=True)
    ratios = {f"{kind}_{mode}{suffix}": None for suffix in ("", "_b32") for kind in ("pretrain", "sft") for mode in MODES}
    for (name, suffix), values in speeds.items():
        kind, mode = name.split("_", 1)
        if mode != "peer":
            ratios[f"{kind}_{mode}{suffix}"] = round(statistics.median(values) / statistics.median(speeds[(f"{kind}_peer", suffix)]), 3)
    for suffix in ("", "_b32"):
        peaks = [statistics.median(memory[(f"{kind}_f32", suffix)]) / statistics.median(memory[(f"{kind}_peer", suffix)])
                 for kind in ("pretrain", "sft") if (f"{kind}_f32", suffix) in memory]
        ratios[f"memory_f32{suffix}"] = round(max(peaks), 3) if peaks else None
    ratios["loader_per_core"] = loader
    print(json.dumps(ratios))


main()
