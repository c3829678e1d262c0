"""A real web_chat on a tiny model, for the tests of this folder. Environment MINIMIND_BIN names the folder with the binaries."""
import base64
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data/sample"
BIN = pathlib.Path(os.environ["MINIMIND_BIN"])
IMAGES = sorted((SAMPLE / "images").iterdir())
# An answer that ends by itself may be short; greedily an untrained model repeats itself as long as it may.
LONG = {"temperature": 0, "max_tokens": 19000}


def make_model(folder):
    """An untrained model of the smallest kind; returns the flags that name its files."""
    shape = ["--init_from", "none", "--dim", "32", "--n_layers", "1", "--n_heads", "4", "--n_kv_heads", "2"]
    files = ["--tokenizer", SAMPLE / "tokenizer.model", "--clip_dir", SAMPLE / "clip"]
    subprocess.run([BIN / "pretrain_vlm", *shape, *files, "--images_dir", SAMPLE / "images", "--data_path", SAMPLE / "pretrain.json", "--out_dir", folder,
                    "--max_steps", "1", "--batch_size", "2", "--num_workers", "1"], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return ["--checkpoint", pathlib.Path(folder) / "32_vlm_pretrain.pth", *files]


class WebChat:
    """The program on a free port, from the start to stop() or the end of a with statement."""

    def __init__(self, files, *flags):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([BIN / "web_chat", *files, "--port", "0", *map(str, flags)], stdout=subprocess.PIPE, stderr=self.errors, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"http://([^/:]+):(\d+)/", line)
        if not found:
            self.process.wait()
            self.errors.seek(0)
            raise RuntimeError(f"web_chat did not start: {line}{self.errors.read()}")
        self.host, self.port = found[1], int(found[2])
        self.url = found[0]
        self.model = json.loads(self.get("/v1/models")[1])["data"][0]["id"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def stop(self, seconds=60):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def request(self, method, path, body=None, headers=None):
        """(status, text, headers) of one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def chat(self, body, **fields):
        """(status, parsed answer); body: JSON text, or the messages."""
        if not isinstance(body, (str, bytes)):
            body = json.dumps({"messages": body, **fields})
        status, text, _ = self.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        return status, json.loads(text)

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else None

    def refusals(self):
        """Questions answered with status 400 so far."""
        return self.metric('minimind_http_responses_total{route="/v1/chat/completions",status="400"}') or 0

    def peak_bytes(self):
        """The highest resident memory so far."""
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def virtual_bytes(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")

    def resident_bytes(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGESIZE")


def question(text, *images):
    """A user's message with images (paths or bytes)."""
    if not images:
        return {"role": "user", "content": text}
    parts = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def data_url(image):
    content = image if isinstance(image, bytes) else pathlib.Path(image).read_bytes()
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()
