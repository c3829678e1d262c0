#!/usr/bin/env python3
"""Chat speed of ours against the peers, alternately in one run, medians. Called by `scripts/bench.sh chat`.
usage: chat_bench.py DATA --bin DIR --llama_python PYTHON --clip_python PYTHON; the last line is one JSON object (docs/BENCHMARKS.md says what each key is)."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = {"": (512, 8, 128), "_768": (768, 16, 48)}  # suffix: width, layers, tokens a round
PEER_TYPES = {"float32": "F32", "bfloat16": "BF16", "int8": "Q8_0"}
SHORT = {"float32": "fp32", "bfloat16": "bf16", "int8": "int8"}
PROMPT_TOKENS = 70


def say(text):
    print(text, file=sys.stderr, flush=True)


def load():
    return pathlib.Path("/proc/loadavg").read_text().split()[0]


class Worker:
    """A loaded program that answers a line with a line of JSON."""

    def __init__(self, *command, threads):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
        self.notes = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.notes, text=True,
                                        env=environment)
        self.ready = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.notes.seek(0)
            raise SystemExit(f"error: {' '.join(map(str, self.process.args))} ended:\n{self.notes.read()}")
        return json.loads(line)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.notes.close()


def median_of(results, key):
    return statistics.median(result[key] for result in results)


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.data = arguments.data
        self.rounds = arguments.rounds
        self.results = {}

    def ours(self, what, weights, threads, *rest, checkpoint=None):
        return Worker(self.arguments.bin / "chat_bench", what, checkpoint or self.data / "512_vlm_sft.pth", weights, threads, *rest, threads=threads)

    def decode(self, suffix, weights, threads):
        dim, layers, tokens = SHAPES[suffix]
        peer_file = self.data / f"{dim}_{PEER_TYPES[weights]}.gguf"
        with self.ours("decode", weights, threads, PROMPT_TOKENS, checkpoint=self.data / f"{dim}_vlm_sft.pth") as ours, \
                Worker(self.arguments.llama_python, HERE / "chat_peer.py", "llama", peer_file, threads, PROMPT_TOKENS, threads=threads) as peer:
            if not peer.ready["repacks"]:
                say(f"llama.cpp dies here where it repacks {PEER_TYPES[weights]} weights, so it runs without (use_extra_bufts off)")
            own, other, sums = [], [], []
            for _ in range(self.rounds + 1):
                own.append(ours.ask(f"decode {tokens}"))
                other.append(peer.ask(f"decode {tokens}"))
                sums.append(ours.ask("sum"))
            own, other, sums = own[1:], other[1:], sums[1:]  # the first round warms up
            weight_bytes = ours.ready["weight_bytes"]
        speed, peer_speed = median_of(own, "tokens_per_second"), median_of(other, "tokens_per_second")
        prefill, peer_prefill = median_of(own, "prefill_seconds"), median_of(other, "prefill_seconds")
        share = speed * weight_bytes / median_of(sums, "bytes_per_second")
        name = SHORT[weights]
        say(f"decode {dim}+{layers} {name}, {threads} thread{'s' * (threads > 1)}: {speed:.0f} tokens/s, llama.cpp {PEER_TYPES[weights]} {peer_speed:.0f}, ratio "
            f"{speed / peer_speed:.2f}; {speed * weight_bytes / 1e9:.1f} GB/s of {median_of(sums, 'bytes_per_second') / 1e9:.1f} ({share:.2f}); "
            f"prefill of {PROMPT_TOKENS}: {1e3 * prefill:.1f} ms, {1e3 * peer_prefill:.1f} ms, ratio {prefill / peer_prefill:.2f}; load {load()}")
        if threads == 2:
            self.results[f"decode_{name}_vs_llama{suffix}"] = speed / peer_speed
            if not suffix and weights != "int8":
                self.results[f"decode_{name}_of_bandwidth"] = share
                self.results[f"prefill_{name}"] = prefill / peer_prefill

    def encode(self, threads):
        parts = [self.data / "clip-vit-base-patch32", self.data / "tokenizer.json"]
        with self.ours("encode", "float32", threads, *parts) as wide, self.ours("encode", "bfloat16", threads, *parts) as narrow, \
                Worker(self.arguments.clip_python, HERE / "chat_peer.py", "clip", parts[0], threads, threads=threads) as peer:
            times = {"fp32": [], "bf16": [], "peer": []}
            for _ in range(2 * self.rounds + 2):
                for name, worker in (("fp32", wide), ("peer", peer), ("bf16", narrow)):
                    times[name].append(worker.ask(f"encode {self.data / 'image.jpg'}"))
            middle = {name: median_of(values[2:], "seconds") for name, values in times.items()}
        say(f"image to 50 tokens, {threads} thread{'s' * (threads > 1)}: float32 {1e3 * middle['fp32']:.0f} ms, bfloat16 {1e3 * middle['bf16']:.0f} ms, transformers "
            f"{1e3 * middle['peer']:.0f} ms, ratios {middle['fp32'] / middle['peer']:.2f} {middle['bf16'] / middle['peer']:.2f}; load {load()}")
        if threads == 2:
            self.results["encode_fp32"] = middle["fp32"] / middle["peer"]
            self.results["encode_bf16"] = middle["bf16"] / middle["peer"]

    def start(self, weights):
        """Process start to the first character, and peak resident memory, of a question about an image."""
        command = [self.arguments.bin / "eval_chat", "--checkpoint", self.data / "512_vlm_sft.pth", "--clip_dir", self.data / "clip-vit-base-patch32",
                   "--tokenizer", self.data / "tokenizer.json", "--image", self.data / "image.jpg", "--prompt", "what is it", "--temperature", "1", "--seed", "1337",
                   "--max_new_tokens", "16", "--threads", "2", "--device", "cpu", "--weights", weights]
        seconds, memory = [], []
        for _ in range(self.rounds + 2):
            with tempfile.TemporaryFile() as notes:
                start = time.perf_counter()
                process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=notes, stdin=subprocess.DEVNULL)
                first = process.stdout.read(1)
                seconds.append(time.perf_counter() - start)
                process.stdout.read()
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode != 0 or first in (b"", b"\n"):
                    notes.seek(0)
                    raise SystemExit(f"error: eval_chat gave no answer (exit {process.returncode}): {notes.read().decode()}")
            memory.append(usage.ru_maxrss * 1024 / 1e6)
        seconds, memory = statistics.median(seconds[2:]), statistics.median(memory[2:])
        say(f"start to first character, {SHORT[weights]}: {seconds:.3f} s, peak {memory:.0f} MB; load {load()}")
        self.results[f"rss_{SHORT[weights]}_mb"] = memory
        if weights == "float32":
            self.results["start_seconds"] = seconds

    def int8_loss(self):
        sample = self.data / "sample"
        model = self.data / "trained/128_vlm_sft.pth"
        values = {}
        for weights in ("float32", "int8", "bfloat16"):
            command = [self.arguments.bin / "chat_bench", "loss", model, weights, "2", sample / "clip", sample / "tokenizer.model", sample / "held_out.json", sample / "images"]
            loss = json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)["loss"]
            command = [self.arguments.bin / "eval_chat", "--data", sample / "held_out.json", "--checkpoint", model, "--clip_dir", sample / "clip", "--tokenizer",
                       sample / "tokenizer.model", "--weights", weights, "--max_new_tokens", "64"]
            score = json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            values[weights] = (loss, score["accuracy"])
            say(f"held-out loss in {weights}: {loss:.5f}, accuracy {score['accuracy']:.4f} of {score['samples']}")
        self.results["int8_loss"] = values["int8"][0] / values["float32"][0]

    def run(self):
        for suffix in SHAPES:
            for weights in PEER_TYPES:
                for threads in (2, 1):
                    self.decode(suffix, weights, threads)
        for threads in (2, 1):
            self.encode(threads)
        for weights in ("float32", "bfloat16"):
            self.start(weights)
        self.int8_loss()
        print(json.dumps({key: round(value, 3) for key, value in self.results.items()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--llama_python", required=True)
    parser.add_argument("--clip_python", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("decode", "encode", "start", "int8_loss"), help="a part, while working on it")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    say(f"load before the run: {load()}")
    if not arguments.only:
        bench.run()
    elif arguments.only == "int8_loss":
        bench.int8_loss()
    elif arguments.only == "start":
        bench.start("float32")
        bench.start("bfloat16")
    elif arguments.only == "encode":
        bench.encode(2)
    else:
        for suffix in SHAPES:
            for weights in PEER_TYPES:
                bench.decode(suffix, weights, 2)
    if arguments.only:
        print(json.dumps({key: round(value, 3) for key, value in bench.results.items()}))


main()
