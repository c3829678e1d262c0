"""What the tests on the make-believe card share. Environment: MINIMIND_BIN, the folder of the programs; MINIMIND_FAKE_CUDA, the library.
The programs run on cuda:1 of two cards, so that work for the first card shows."""
import collections
import json
import os
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/train"), str(ROOT / "tests/web")]
LIBRARY = os.environ["MINIMIND_FAKE_CUDA"]
CARD = ["--device", "cuda:1"]


def environment(report=None, strict=True, **settings):
    """What gives a program cards. strict: work for a card that is not current, and an attention of cuDNN, are errors."""
    values = {"LD_PRELOAD": LIBRARY, "FAKE_CUDA_STRICT": int(strict), **settings}
    if report is not None:
        values["FAKE_CUDA_REPORT"] = report
    return {name: str(value) for name, value in values.items()}


class Counts:
    """A report of tests/support/fake_cuda: names[kind][name] and the numbers at its end."""

    def __init__(self, path):
        self.names = collections.defaultdict(dict)
        self.numbers = {}
        for line in pathlib.Path(path).read_text().splitlines():
            first, second, *name = line.split(" ", 2)
            if name:
                self.names[first][name[0]] = int(second)
            else:
                self.numbers[first] = int(second)

    def __getitem__(self, number):
        return self.numbers[number]

    def mark(self, index):
        """Operations and waits by name at an occurrence of FAKE_CUDA_MARK."""
        return {kind: self.names[f"mark{index}.{kind}"] for kind in ("operation", "wait")}


def deepen_encoder(source, target, layers):
    """A copy of the encoder in a folder whose first layer stands for all layers. A head of 8 numbers needs no padding, like a real head."""
    target.mkdir()
    (target / "preprocessor_config.json").write_bytes((source / "preprocessor_config.json").read_bytes())
    config = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers, "num_attention_heads": config["hidden_size"] // 8}))
    content = (source / "model.safetensors").read_bytes()
    body = 8 + struct.unpack("<Q", content[:8])[0]
    header, weights = {}, b""
    for name, entry in json.loads(content[8:body]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        for layer in range(layers if ".layers.0." in name else 1):
            header[name.replace(".layers.0.", f".layers.{layer}.")] = {**entry, "data_offsets": [len(weights), len(weights) + last - first]}
            weights += content[body + first:body + last]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (target / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + weights)
