#!/usr/bin/env python3
"""Compares our tokenizer with the reference, Python's `tokenizers`, on generated text.

Equal words for every code point, equal ids and round trips for 20,000 strings, equal ids around image slots wherever the
original keeps its slot, and speed on one core at least the reference's.
usage: differential.py ENCODE_LINES_BINARY     (MINIMIND_FIXTURES: the golden folder, for its tokenizer.json)
"""
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers  # noqa: E402  (the two settings above are read when it loads)

STRINGS = 20_000
CHATS = 3_000
SEED = 20241007

SCRIPTS = [(0x20, 0x7F), (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF),
           (0x900, 0x97F), (0xE00, 0xE7F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
           (0x2070, 0x218F), (0x2190, 0x27BF), (0x3000, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
           (0xE000, 0xE0FF), (0xF900, 0xFFFF), (0x10000, 0x1FFFF), (0x1D400, 0x1D7FF), (0x20000, 0x323AF),
           (0xE0000, 0xE01FF), (0x10FF00, 0x10FFFF)]
SPACES = [chr(c) for c in (9, 10, 11, 12, 13, 0x20, 0x20, 0x20, 0x85, 0xA0, 0x1680, 0x2003, 0x2028, 0x202F, 0x205F,
                           0x3000, 0x200B, 0x180E, 0x1C, 0x1F, 0xFEFF)]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🇨🇳", "❤️", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🤷🏿‍♀️", "☃", "𝔘"]
PIECES = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'", "''", "don't", "<s>", "</s>", "<unk>", "<s", "</", "<", ">",
          "<image>", "user", "assistant", "\n", " ", "  ", "123", "3.14", "你好", "。", "，", "é", "e\u0301", "Ġ", "ĊĠ", "▁"]


def random_char(rng):
    while True:
        char = chr(rng.randint(*rng.choice(SCRIPTS)))
        if not 0xD800 <= ord(char) <= 0xDFFF:
            return char


def from_script(rng, vocabulary):
    first, last = rng.choice(SCRIPTS)
    return "".join(chr(rng.randint(first, last)) if rng.random() < 0.85 else rng.choice(SPACES)
                   for _ in range(rng.randint(1, 120)))


def mixed(rng, vocabulary):
    return "".join(rng.choice(PIECES) if rng.random() < 0.6 else random_char(rng) for _ in range(rng.randint(0, 60)))


def emoji(rng, vocabulary):
    return "".join(rng.choice(EMOJI) if rng.random() < 0.7 else rng.choice(PIECES) for _ in range(rng.randint(1, 40)))


def controls(rng, vocabulary):
    return "".join(chr(rng.choice([rng.randint(0, 0x20), rng.randint(0x7F, 0xA0)])) if rng.random() < 0.6
                   else rng.choice(PIECES) for _ in range(rng.randint(1, 60)))


def white_space(rng, vocabulary):
    return "".join(rng.choice(SPACES) if rng.random() < 0.7 else rng.choice("ab1!'你") for _ in range(rng.randint(1, 60)))


def long_run(rng, vocabulary):
    unit = "".join(rng.choice([random_char(rng), rng.choice(PIECES), rng.choice(SPACES)]) for _ in range(rng.randint(1, 3)))
    return unit * rng.choice([3, 30, 63, 64, 65, 300, 2000])


def bytes_made_valid(rng, vocabulary):
    return rng.randbytes(rng.randint(1, 200)).decode("utf-8", rng.choice(["replace", "ignore"]))


def prose(rng, vocabulary):
    return "".join(rng.choice(vocabulary) for _ in range(rng.randint(1, 150)))


KINDS = [from_script, mixed, emoji, controls, white_space, long_run, bytes_made_valid, prose]


class Comparison:
    def __init__(self, binary):
        root = Path(os.environ.get("MINIMIND_FIXTURES") or Path(__file__).resolve().parents[3] / "shared/fixtures/upstream")
        self.path = root / "tokenizer" / "tokenizer.json"
        self.placeholder = json.loads((root / "tokenizer" / "strings.json").read_text())["image_placeholder"]
        self.binary = binary
        self.reference = tokenizers.Tokenizer.from_file(str(self.path))
        self.failures = 0

    def ours(self, texts, *arguments):
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        done = subprocess.run([self.binary, *map(str, arguments)], input=lines, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.removesuffix("\n").split("\n")]

    def reference_ids(self, text):
        return self.reference.encode(text, add_special_tokens=False).ids

    def check(self, equal, what, text, ours, theirs):
        if not equal:
            self.failures += 1
            if self.failures <= 10:
                print(f"DIFFERENT {what}: {text[:200]!r}\n  ours      {str(ours)[:400]}\n  reference {str(theirs)[:400]}")

    def words(self):
        """Each code point between a letter and a number, and behind a placeholder: tells its class."""
        splitter = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        codepoints = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
        texts = ["".join(f"a{chr(c)}1!{chr(c)}" for c in codepoints[i:i + 256]) for i in range(0, len(codepoints), 256)]
        for text, ours in zip(texts, self.ours(texts, "words"), strict=True):
            theirs = [text[first:last] for _, (first, last) in splitter.pre_tokenize_str(text)]
            self.check(ours == theirs, "words", text, ours, theirs)
        print(f"code points: {len(codepoints)} compared")

    def ids(self, texts):
        for text, (ids, decoded) in zip(texts, self.ours(texts, "ids", self.path), strict=True):
            theirs = self.reference_ids(text)
            self.check(ids == theirs, "ids", text, ids, theirs)
            back = self.reference.decode(theirs, skip_special_tokens=False)
            self.check(decoded == text == back, "round trip", text, decoded, back)
        print(f"strings: {len(texts)} compared, {sum(len(text.encode()) for text in texts)} bytes")

    def chats(self, rng, vocabulary):
        texts = ["".join(rng.choice(["<image>", "\n", " ", "\n<image>", rng.choice(PIECES), prose(rng, vocabulary)[:20]])
                         for _ in range(rng.randint(1, 8))) for _ in range(CHATS)]
        pattern = self.reference_ids(self.placeholder)
        intact = 0
        for text, (ids, slots, placeholders) in zip(texts, self.ours(texts, "chat", self.path, self.placeholder), strict=True):
            rendered = f"<s>user\n{text.replace('<image>', self.placeholder)}</s>\n<s>assistant\n"
            theirs = self.reference_ids(rendered)
            starts, at = [], 0
            while at + len(pattern) <= len(theirs):
                found = theirs[at:at + len(pattern)] == pattern
                starts += [at] if found else []
                at += len(pattern) if found else 1
            self.check(len(slots) == placeholders, "number of slots", text, slots, placeholders)
            self.check(self.reference.decode(ids, skip_special_tokens=False) == rendered, "chat text", text, ids, rendered)
            if len(starts) == placeholders:
                intact += placeholders > 0
                self.check(ids == theirs, "chat ids", text, ids, theirs)
        print(f"chats: {CHATS} compared, {intact} with slots that are intact in the original")
        self.check(intact > CHATS / 10, "intact chats", "", intact, CHATS)

    def reference_seconds(self, texts):
        def one_by_one():
            for text in texts:
                self.reference.encode(text, add_special_tokens=False)
        passes = [one_by_one, lambda: self.reference.encode_batch(texts, add_special_tokens=False)]
        if hasattr(self.reference, "encode_batch_fast"):
            passes.append(lambda: self.reference.encode_batch_fast(texts, add_special_tokens=False))
        seconds = []
        for run in passes * 3:
            start = time.process_time()
            run()
            seconds.append(time.process_time() - start)
        return min(seconds)

    def speed(self, name, texts):
        size = sum(len(text.encode()) for text in texts) / 1e6
        theirs = self.reference_seconds(texts)
        ours = self.ours(texts, "time", self.path)[0]
        print(f"speed on one core, {name}: ours {size / ours:.1f} MB/s, reference {size / theirs:.1f} MB/s, "
              f"ratio {theirs / ours:.2f}")
        self.check(theirs >= ours, "speed: slower than the reference on", name, ours, theirs)


def main():
    comparison = Comparison(sys.argv[1])
    rng = random.Random(SEED)
    reference = comparison.reference
    # Whole characters only: the texts of the vocabulary that decode alone.
    vocabulary = [text for text in (reference.decode([i]) for i in range(reference.get_vocab_size())) if "\ufffd" not in text]
    texts = [KINDS[i % len(KINDS)](rng, vocabulary) for i in range(STRINGS)]
    print(f"tokenizers {tokenizers.__version__}, {comparison.path}")
    comparison.words()
    comparison.ids(texts)
    comparison.chats(rng, vocabulary)
    comparison.speed("all kinds of strings", texts[:STRINGS // 3])
    comparison.speed("prose", [text for i, text in enumerate(texts) if KINDS[i % len(KINDS)] is prose])
    print(f"{comparison.failures} differences")
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())
