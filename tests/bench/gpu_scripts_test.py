#!/usr/bin/env python3
"""The scripts for a machine with a GPU, tried on the CPU in tiny sizes: the benchmark against its peer, its shell script, the first look at a GPU.
Runs with the Python of the torch wheel; skipped if that lacks numpy, Pillow or tokenizers. Environment: MINIMIND_BIN, the built programs."""
import importlib.util
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data/sample"
BIN = pathlib.Path(os.environ["MINIMIND_BIN"])
# The peer's models in small: the benchmark installs the real ones.
TRANSFORMERS = """
import types
import torch
class Config(types.SimpleNamespace):
    def __init__(self, **settings): super().__init__(**settings)
LlamaConfig = CLIPVisionConfig = Config
class LlamaModel(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.layer = torch.nn.Linear(config.hidden_size, config.hidden_size)
    def forward(self, inputs_embeds): return types.SimpleNamespace(last_hidden_state=self.layer(inputs_embeds))
class CLIPVisionModel(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.patches = torch.nn.Linear(1, config.hidden_size)
    def forward(self, pixel_values, output_hidden_states):
        means = pixel_values.mean(dim=(1, 2, 3)).view(-1, 1, 1).expand(-1, 50, 1)
        return types.SimpleNamespace(hidden_states=[self.patches(means)])
"""
TINY = ["--device", "cpu", "--dtype", "float32", "--shape", "64", "1", "--batches", "2", "--entries", "40", "--warmup", "1", "--steps", "2", "--workers", "1",
        "--tokenizer", SAMPLE / "tokenizer.model", "--clip", SAMPLE / "clip"]


def train_data():
    spec = importlib.util.spec_from_file_location("train_data", ROOT / "tests/bench/train_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Scripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.stubs = self.folder / "stubs"
        self.stubs.mkdir()

    def stub(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run_script(self, *command, **environment):
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=900,
                              env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{self.stubs}:{os.environ['PATH']}", **environment})


class Bench(Scripts):
    def make_data(self):
        """Eight samples with the sample's images, and the peer's tokenizer."""
        data, maker = self.folder / "data", train_data()
        if data.exists():
            return data
        shutil.copytree(SAMPLE / "images", data / "images")
        maker.train_tokenizer(maker.words(400, random.Random(1)), data / "tokenizer.json")
        names = sorted(path.name for path in (data / "images").iterdir())[:8]
        (data / "pretrain.json").write_text(json.dumps([
            {"id": name, "image": name, "conversations": [{"from": "human", "value": "what is it\n<image>"}, {"from": "gpt", "value": "a thing of colour"}]}
            for name in names]))
        return data

    def bench(self, *extra):
        done = self.run_script(sys.executable, ROOT / "tests/bench/gpu_bench.py", self.make_data(), "--bin", BIN, *TINY, *extra,
                               PYTHONPATH=str(self.folder / "modules"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        return json.loads(done.stdout), done.stderr

    def test_measures_ours_and_the_peer_in_every_way(self):
        self.stub(self.folder / "modules/transformers.py", TRANSFORMERS)
        found, told = self.bench("--peer_python", sys.executable)
        self.assertEqual(found["left_out"], [], told)
        ways = ("ours", "ours_cached", "ours_group_of_one", "peer", "peer_cudnn", "peer_untrimmed")
        self.assertEqual(set(found["results"]), {f"{model} 2 {way}" for model in ("512+8", "768+16") for way in ways})
        self.assertTrue(all(result["samples_per_second"] > 0 for result in found["results"].values()))
        self.assertEqual(set(found["ratios"]), {f"{model} 2 {way}" for model in ("512+8", "768+16") for way in ways if way.startswith("ours")})
        self.assertEqual(sum(line.startswith("| ") for line in told.splitlines()), 12, "a line of progress for each run")

    def test_leaves_out_what_the_budget_and_failures_do_not_allow_and_says_so(self):
        found, _ = self.bench("--budget", 0, "--ways", "ours")
        self.assertEqual([part["run"] for part in found["left_out"]], ["512+8 2 ours", "768+16 2 ours"])
        self.assertIn("the budget of 0 s is spent", found["left_out"][0]["reason"])
        self.stub(self.folder / "bin/pretrain_vlm", "#!/bin/sh\necho no such card >&2\nexit 3\n")
        found, _ = self.bench("--bin", self.folder / "bin", "--ways", "ours", "peer", "--models", "512+8")
        self.assertEqual([part["reason"] for part in found["left_out"]], ["failed: no such card", "no --peer_python"])
        self.stub(self.folder / "bin/pretrain_vlm", "#!/bin/sh\nexec sleep 1000\n")
        found, _ = self.bench("--bin", self.folder / "bin", "--ways", "ours", "--models", "512+8", "--budget", 25)
        self.assertIn("cut off by the budget of 25 s", found["left_out"][0]["reason"])

    def make_checkout(self, ctest_code):
        """bench_gpu.sh beside stubs of all that it starts."""
        scripts = self.folder / "checkout/scripts"
        self.stub(scripts / "bench_gpu.sh", (ROOT / "scripts/bench_gpu.sh").read_text())
        self.stub(scripts / "setup.sh", f"set -euo pipefail\nminimind_root={self.folder}/checkout\nsay() {{ echo \"$*\" >&2; }}\ndie() {{ say \"$*\"; exit 1; }}\n"
                  "install_packages() { :; }\nchoose_cuda() { echo cuda; }\nfetch_libtorch() { say \"libtorch $1\"; }\nbuild_preset() { say \"build $1\"; }\n")
        self.stub(scripts / "bench_peer.sh", f"bench_venv={self.folder}/venv\nbench_data=DATA\nmake_bench_data() {{ say data; }}\n")
        self.stub(self.folder / "venv/bin/python", "#!/bin/sh\necho \"$*\"\n")
        self.stub(self.stubs / "nvidia-smi", "#!/bin/sh\necho 'GPU 0: a card'\n")
        self.stub(self.stubs / "ctest", f"#!/bin/sh\necho \"ctest $*\"\nexit {ctest_code}\n")
        return scripts / "bench_gpu.sh"

    def test_the_shell_script_hands_the_rest_of_8_minutes_to_the_measurement(self):
        for code in (0, 1):
            done = self.run_script("bash", self.make_checkout(code))
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertRegex(done.stdout, rf"^tests/bench/gpu_bench.py DATA .*--budget 4(70|6[5-9]) --tests_failed {code}\n$")
            self.assertRegex(done.stderr, r"(?s)GPU 0: a card.*libtorch cuda.*build ci.*data.*ctest --preset ci -j 4 -L golden\|gpu.*Training on GPU 0: a card")

    def test_the_shell_script_names_what_is_missing(self):
        script = self.make_checkout(0)
        self.stub(self.stubs / "nvidia-smi", "#!/bin/sh\nexit 9\n")
        done = self.run_script("bash", script)
        self.assertEqual(done.returncode, 1)
        self.assertIn("expected an NVIDIA card with its driver", done.stderr)


class FirstHour(Scripts):
    NEED_A_CARD = ("Tests and golden data on one card", "Two ranks on two cards", "Profile of ten steps")

    def first_hour(self, *options, driver, code):
        self.stub(self.stubs / "nvidia-smi", driver)
        done = self.run_script("bash", ROOT / "scripts/gpu_first_hour.sh", *options, self.folder / "report")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        summary = (self.folder / "report/summary.md").read_text()
        self.assertEqual(summary, done.stdout)
        rows = dict(line.strip("| ").split(" | ")[:2] for line in summary.splitlines() if line.startswith("| ") and not line.startswith("| part"))
        return rows, summary

    def test_a_dry_run_tries_all_but_the_parts_that_need_a_card(self):
        rows, summary = self.first_hour("--dry", "--bin", BIN, code=0, driver="""#!/bin/sh
case "$*" in *query-gpu*) echo '0, NVIDIA H200, 143771 MiB, 580.65.06, 9.0' ;; esac
""")
        for part in self.NEED_A_CARD:
            self.assertEqual(rows[part], "not run: needs an NVIDIA card, and this is a dry run")
        self.assertEqual(rows["Build with CUDA and NCCL"], "not run: --bin names built programs")
        passed = [part for part, result in rows.items() if result == "passed"]
        self.assertEqual(passed, ["Machine and cards", "Versions", "Training and chat on the sample",
                                  "Speed beside the peer, with and without the attention of cuDNN"], summary)
        self.assertIn("- card 0: NVIDIA H200, 143771 MiB memory, driver 580.65.06, compute capability 9.0\n", summary)
        self.assertRegex(summary, r"- torch: 2\.\S+, CUDA ")
        self.assertRegex(summary, r"- sample: loss [0-9.]+ at first, [0-9.]+ after 3 steps, [0-9]+ samples/s\n")
        self.assertRegex(summary, r"- chat: an answer of [1-9][0-9]* bytes on cpu\n")
        self.assertRegex(summary, r"- speed: 512\+8, batch 2, ours: [0-9.]+ samples/s")
        self.assertIn("- speed: 512+8 2 peer: left out: no --peer_python\n", summary)

    def test_failures_are_named_and_do_not_stop_it(self):
        self.stub(self.folder / "bin/pretrain_vlm", "#!/bin/sh\necho 'error: CUDA error: no kernel image' >&2\nexit 1\n")
        rows, summary = self.first_hour("--bin", self.folder / "bin", code=1, driver="#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
        self.assertEqual(rows["Machine and cards"], "failed (exit code 9): NVIDIA-SMI has failed")
        self.assertEqual(rows["Training and chat on the sample"], "failed (exit code 1): error: CUDA error: no kernel image")
        for part in self.NEED_A_CARD:
            self.assertEqual(rows[part], "not run: nvidia-smi shows no card")
        self.assertEqual(len(rows), 8, summary)


MISSING = [name for name in ("numpy", "PIL", "tokenizers", "torch") if importlib.util.find_spec(name) is None]
if MISSING:
    print(f"NOT RUN: {sys.executable} lacks {', '.join(MISSING)}")
    raise SystemExit(77)
unittest.main()
