#!/usr/bin/env python3
"""Data for the training benchmark, equal for both sides: JPEGs 128x128, captions of 10-30 tokens (pretrain.json), answers of 30-100 tokens
(sft.json), a byte-level BPE tokenizer of 6400 entries trained on the texts, and full-size model files with random weights.
usage: train_data.py OUT [--pictures 640]"""
import argparse
import json
import pathlib
import random
import string
import subprocess
import sys

import numpy
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def words(count, generator):
    """Made-up words whose lengths and frequencies look like a language's."""
    return ["".join(generator.choices(string.ascii_lowercase, k=generator.randint(2, 9))) for _ in range(count)]


def sentence(vocabulary, low, high, tokenizer, generator):
    """Words until the text has a number of tokens drawn from [low, high]."""
    wanted = generator.randint(low, high)
    text = ""
    while len(tokenizer.encode(text).ids) < wanted:
        text += (" " if text else "") + vocabulary[min(int(generator.paretovariate(0.6)) - 1, len(vocabulary) - 1)]
    return text


def train_tokenizer(vocabulary, path):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=6400, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    # The marks that stand for an image must stay single characters, as in the released tokenizer.
    tokenizer.train_from_iterator((" ".join(vocabulary[i:i + 40]) for i in range(0, len(vocabulary), 20)), trainer)
    tokenizer.save(str(path))
    return tokenizer


def image(generator):
    """Smooth colour fields with noise: compresses like a small photograph (about 5 KB)."""
    coarse = generator.integers(0, 256, (8, 8, 3), dtype=numpy.uint8)
    smooth = numpy.asarray(Image.fromarray(coarse).resize((128, 128), Image.BICUBIC), dtype=numpy.int16)
    return Image.fromarray(numpy.clip(smooth + generator.normal(0, 6, smooth.shape), 0, 255).astype(numpy.uint8))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=640)
    arguments = parser.parse_args()
    out = arguments.out
    (out / "images").mkdir(parents=True, exist_ok=True)
    generator = random.Random(1337)
    pixels = numpy.random.default_rng(1337)
    vocabulary = words(20000, generator)
    tokenizer = train_tokenizer(vocabulary, out / "tokenizer.json")
    data = {"pretrain": [], "sft": []}
    for i in range(arguments.images):
        name = f"{i:06d}.jpg"
        image(pixels).save(out / "images" / name, quality=85)
        for kind, (low, high) in {"pretrain": (10, 30), "sft": (30, 100)}.items():
            question = "write a short caption .\n<image>" if kind == "pretrain" else "<image>\n" + sentence(vocabulary, 8, 16, tokenizer, generator)
            data[kind].append({"id": f"{i:06d}", "image": name, "conversations": [
                {"from": "human", "value": question}, {"from": "gpt", "value": sentence(vocabulary, low, high, tokenizer, generator)}]})
    for kind, samples in data.items():
        (out / f"{kind}.json").write_text(json.dumps(samples))
    scripts = pathlib.Path(__file__).resolve().parents[2] / "scripts"
    subprocess.run([sys.executable, scripts / "full_size_files.py", out], check=True)


if __name__ == "__main__":
    main()
