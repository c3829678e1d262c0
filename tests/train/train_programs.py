"""What the tests of whole training programs share. Environment: MINIMIND_BIN names the folder with the binaries, MINIMIND_TORCHRUN the launcher."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data/sample"
BIN = pathlib.Path(os.environ["MINIMIND_BIN"])
TORCHRUN = pathlib.Path(os.environ.get("MINIMIND_TORCHRUN", "/no/torchrun"))
STEM = "32_vlm_pretrain"
SHAPE = "--init_from none --dim 32 --n_layers 1 --n_heads 4 --n_kv_heads 2".split()
SKIPPED = 77  # CTest shows it as skipped


def training(out, *extra, program="pretrain_vlm", data="pretrain.json"):
    """The command of a training on the sample, one thread, every step logged: 12 micro-batches of 4 an epoch for one process."""
    return [str(part) for part in (
        BIN / program, "--tokenizer", SAMPLE / "tokenizer.model", "--clip_dir", SAMPLE / "clip", "--images_dir", SAMPLE / "images",
        "--data_path", SAMPLE / data, "--out_dir", out, "--batch_size", 4, "--num_workers", 1, "--threads", 1, "--learning_rate", "2e-3",
        "--log_interval", 1, *SHAPE, *extra)]


def checkpoints(out, stem=STEM):
    return sorted((pathlib.Path(out) / f"{stem}_checkpoints").glob("step_*.safetensors"))


def weights(out, stem=STEM):
    return (pathlib.Path(out) / f"{stem}.pth").read_bytes()


def metrics(out):
    path = pathlib.Path(out) / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []


def losses(out):
    return [(record["step"], record["loss"]) for record in metrics(out)]


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.002)


def can_mount():
    folder = tempfile.mkdtemp()
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode != 0:
            return False
        subprocess.run(["umount", folder], check=True)
        return True
    except FileNotFoundError:
        return False
    finally:
        os.rmdir(folder)


class Training(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.temporary.name)
        self.started = []

    def kill_strays(self):
        """Programs that work in this test's folder and lost their launcher."""
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                if command.startswith(bytes(BIN)) and bytes(self.out) in command:
                    os.kill(pid, signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue

    def tearDown(self):
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stderr.close()
        self.kill_strays()
        self.temporary.cleanup()

    def start(self, command, **environment):
        """In a process group of its own; stderr goes to a file, see told()."""
        log = open(self.out / f"stderr{len(self.started)}.txt", "w+")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                   env={**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in environment.items()}})
        process.stderr = log
        self.started.append(process)
        return process

    def told(self, process):
        return pathlib.Path(process.stderr.name).read_text()

    def finish(self, process, code=0, seconds=180):
        process.wait(seconds)
        self.assertEqual(process.returncode, code, self.told(process))
        return self.told(process)

    def run_training(self, out, *extra, code=0, **changes):
        return self.finish(self.start(training(out, *extra, **changes)), code)


def main():
    """As unittest.main(), but a run in which every test was skipped is itself skipped."""
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        raise SystemExit(1)
    if result.testsRun == 0 or len(result.skipped) == result.testsRun:
        raise SystemExit(SKIPPED)
