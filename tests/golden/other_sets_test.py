#!/usr/bin/env python3
"""The golden runners on folders other than the released one: a set of other sizes, seeds and configurations from a reference
in Python must pass unchanged; unknown kinds of cases, left-out cases and an empty or missing folder must fail."""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RUNNERS = {"test_text": "Golden.*", "test_image": "GoldenImages*", "test_weights": "Golden*:ClipFolder*", "test_data": "GoldenTrainSampleAudit*",
           "test_model": "Golden*", "test_infer": "Golden*"}
KINDS = {"tokenizer_encode", "tokenizer_decode", "tokenizer_stream", "chat", "train_samples", "images", "weights", "clip_weights",
         "train_sample_audit", "lm_forward", "lm_state_dict", "lm_errors", "lm_grad", "lm_adam", "lm_generation", "clip", "lm_probs"}
failures = []


def check(condition, what, output=""):
    print(("ok    " if condition else "WRONG ") + what, flush=True)
    if not condition:
        failures.append(what)
        print(output[-3000:])


def run(tests, binary, filter_, folder):
    environment = os.environ | {"MINIMIND_FIXTURES": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([tests / binary, f"--gtest_filter={filter_}"], capture_output=True, text=True, env=environment, errors="replace")
    return done.returncode, done.stdout + done.stderr


def edited(source, folder, name, edit):
    """A copy of the set with one JSON file changed; the large files are links."""
    shutil.copytree(source, folder, copy_function=os.link)
    path = folder / name
    content = json.loads(path.read_text())
    edit(content)
    path.unlink()
    path.write_text(json.dumps(content))
    return folder


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", required=True, help="a Python with torch, tokenizers and Pillow")
    parser.add_argument("--tests", required=True, type=pathlib.Path)
    parser.add_argument("--seed", default="7")
    arguments = parser.parse_args()
    released = pathlib.Path(os.environ.get("MINIMIND_FIXTURES") or HERE.parents[2] / "shared/fixtures/upstream")
    needs = subprocess.run([arguments.python, "-c", "import torch, tokenizers, PIL, numpy"], capture_output=True) if pathlib.Path(arguments.python).exists() else None
    if needs is None or needs.returncode != 0 or not (released / "tokenizer").is_dir():
        print(f"NOT RUN: needs {arguments.python} with torch, tokenizers and Pillow, and the tokenizer in {released}")
        return 77
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        other = folder / "other"
        subprocess.run([arguments.python, HERE / "make_set.py", other, released / "tokenizer", arguments.seed], check=True,
                       env=os.environ | {"OMP_NUM_THREADS": "1"})
        kinds = set()
        for binary, filter_ in RUNNERS.items():
            code, output = run(arguments.tests, binary, filter_, other)
            counted = re.findall(r"^golden (\w+): ran (\d+) of (\d+)$", output, re.MULTILINE)
            kinds |= {kind for kind, ran, total in counted if ran == total and int(total) > 0}
            check(code == 0 and "SKIPPED" not in output, f"{binary} passes: {', '.join(f'{k} {r}/{t}' for k, r, t in counted)}", output)
        check(kinds == KINDS, f"every kind has cases; missing {sorted(KINDS - kinds)}, new {sorted(kinds - KINDS)}")

        def fails(what, binary, filter_, where):
            code, output = run(arguments.tests, binary, filter_, where)
            check(code not in (0, 77), what, output)

        (folder / "empty").mkdir()
        for binary, filter_ in RUNNERS.items():
            fails(f"{binary} fails on an empty folder", binary, filter_, folder / "empty")
            fails(f"{binary} fails on a missing folder", binary, filter_, folder / "none")
        first = lambda manifest: next(iter(manifest["lm"].values()))
        strings, conversations = "tokenizer/strings.json", "tokenizer/conversations.json"
        for number, (what, binary, filter_, name, edit) in enumerate([
                ("an unknown kind in the manifest", "test_model", "GoldenManifest*", "manifest.json", lambda m: m.update(audio={"a.wav": {}})),
                ("an unknown kind of a model", "test_model", "GoldenManifest*", "manifest.json", lambda m: first(m).update(beam_search={})),
                ("an unknown tensor", "test_model", "GoldenManifest*", "manifest.json", lambda m: first(m)["tensors"].update({"text.entropy": []})),
                ("an unknown image tensor", "test_model", "GoldenManifest*", "manifest.json", lambda m: m["image_tensors"].update({"a.train.depth": []})),
                ("an unknown original's error", "test_model", "GoldenLmErrors*", "manifest.json", lambda m: first(m)["upstream_errors"].update(other="X")),
                ("an unknown kind of generation", "test_model", "GoldenLmGeneration*", "manifest.json", lambda m: first(m)["generation"]["text"].update(beam=[1])),
                ("an unknown form of features", "test_model", "GoldenLmForward*", "manifest.json", lambda m: first(m)["cases"]["one_image"].update(features="pool[::2]")),
                ("no case at all", "test_model", "GoldenLmForward*", "manifest.json", lambda m: [p.update(cases={}) for p in m["lm"].values()]),
                ("a wrong loss", "test_model", "GoldenLmForward*", "manifest.json", lambda m: first(m)["cases"]["text"].update(masked_loss=1.0)),
                ("an unknown kind of strings", "test_text", "Golden.tokenizer_encode", strings, lambda s: s.update(offset_cases=[{}])),
                ("no strings", "test_text", "Golden.tokenizer_encode", strings, lambda s: s.update(encode_cases=[])),
                ("an unknown kind of conversations", "test_text", "Golden.chat", conversations, lambda c: c.update(tool_calls=[{}])),
                ("no image", "test_image", "GoldenImages*", "manifest.json", lambda m: m.update(images={}))]):
            fails(f"{binary} fails on {what}", binary, filter_, edited(other, folder / f"edited{number}", name, edit))
    print(f"{len(failures)} wrong")
    return 1 if failures else 0


sys.exit(main())
