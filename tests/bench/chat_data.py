#!/usr/bin/env python3
"""Files for the chat benchmark: full-size checkpoints and CLIP folder with random weights, a tokenizer of 6400 entries, an image of 640x480.
usage: chat_data.py OUT"""
import pathlib
import random
import subprocess
import sys

import numpy
from PIL import Image
from train_data import train_tokenizer, words


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    train_tokenizer(words(20000, random.Random(1337)), out / "tokenizer.json")
    generator = numpy.random.default_rng(1337)
    coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=numpy.uint8))
    smooth = numpy.asarray(coarse.resize((640, 480), Image.BICUBIC), dtype=numpy.int16)
    noisy = numpy.clip(smooth + generator.normal(0, 6, smooth.shape), 0, 255).astype(numpy.uint8)
    Image.fromarray(noisy).save(out / "image.jpg", quality=85)
    scripts = pathlib.Path(__file__).resolve().parents[2] / "scripts"
    for dim, layers in ((512, 8), (768, 16)):
        subprocess.run([sys.executable, scripts / "full_size_files.py", out, "--dim", str(dim), "--n_layers", str(layers), "--with_projection"], check=True)


main()
