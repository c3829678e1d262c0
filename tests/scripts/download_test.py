#!/usr/bin/env python3
"""scripts/download.sh against a hub on loopback: whole, interrupted and resumed, wrong size, wrong sum, missing file, dry run."""
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/download.sh"
WEIGHTS = os.urandom(3_000_000)


class Hub(http.server.BaseHTTPRequestHandler):
    """A small hub: /api/models/…/tree/main and …/resolve/main/…; the faults are switched on by class attributes."""
    files = {}
    cut_after = None       # close the connection after so many bytes of a body
    ranges = []            # the Range headers seen
    lie_about_size = 0
    lie_about_sum = False
    knows_ranges = True
    missing = set()        # listed, but answered with 404
    listing = None         # in place of the list of files

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.startswith("/api/models/openai/clip"):
            entries = [dict(type="file", path=name, size=len(data) + self.lie_about_size,
                            **({"lfs": {"size": len(data) + self.lie_about_size, "oid": "0" * 64 if self.lie_about_sum else hashlib.sha256(data).hexdigest()}}
                               if len(data) > 1000 else {})) for name, data in self.files.items()]
            self.answer(200, json.dumps(entries if self.listing is None else self.listing).encode())
        elif self.path.startswith("/api/datasets/jingyaogong/minimind-v_dataset"):
            self.answer(200, json.dumps([dict(type="file", path=name, size=len(data)) for name, data in self.files.items()]).encode())
        elif "/resolve/main/" in self.path and self.name() in self.files and self.name() not in self.missing:
            data = self.files[self.name()]
            header = self.headers.get("Range") if self.knows_ranges else None
            if header:
                Hub.ranges.append(header)
                data = data[int(header.removeprefix("bytes=").rstrip("-")):]
            self.answer(206 if header else 200, data)
        else:
            self.answer(404, b"")

    def name(self):
        return urllib.parse.unquote(self.path.split("/resolve/main/", 1)[1])

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.cut_after is not None and len(body) > self.cut_after:
            self.wfile.write(body[:self.cut_after])
            self.wfile.flush()
            self.connection.close()
        else:
            self.wfile.write(body)


class Download(unittest.TestCase):
    def setUp(self):
        Hub.files = {"config.json": b"{}", "preprocessor_config.json": b"{ }", "model.safetensors": WEIGHTS}
        Hub.cut_after, Hub.ranges, Hub.lie_about_size, Hub.lie_about_sum = None, [], 0, False
        Hub.knows_ranges, Hub.missing, Hub.listing = True, set(), None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.target = self.root / "model/clip_model/clip-vit-base-patch32/model.safetensors"

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()

    def download(self, *arguments, endpoint=None):
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        environment["HF_ENDPOINT"] = endpoint or f"http://127.0.0.1:{self.server.server_port}"
        return subprocess.run(["bash", SCRIPT, "--root", self.root, *arguments], capture_output=True, text=True, env=environment, timeout=60)

    def test_brings_the_files_and_checks_their_sums(self):
        result = self.download("clip")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.target.read_bytes(), WEIGHTS)
        self.assertIn("sha256 checked", result.stdout)
        again = self.download("clip")
        self.assertEqual(again.stdout.count("have "), 3)

    def test_goes_on_where_it_was_interrupted(self):
        Hub.cut_after = 1_000_000
        first = self.download("clip")
        self.assertEqual(first.returncode, 1)
        self.assertFalse(self.target.exists())
        Hub.cut_after = None
        second = self.download("clip")
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertEqual(self.target.read_bytes(), WEIGHTS)
        self.assertEqual(Hub.ranges, ["bytes=1000000-"])

    def test_starts_again_where_the_server_knows_no_ranges(self):
        Hub.cut_after = 1_000_000
        self.assertEqual(self.download("clip").returncode, 1)
        Hub.cut_after, Hub.knows_ranges = None, False
        self.assertEqual(self.download("clip").returncode, 0)
        self.assertEqual(self.target.read_bytes(), WEIGHTS)

    def test_replaces_a_damaged_part(self):
        self.target.parent.mkdir(parents=True)
        part = self.target.with_name(self.target.name + ".part")
        part.write_bytes(b"x" * 2_000_000)
        self.assertIn("expected sha256", self.download("clip").stderr)
        self.assertFalse(part.exists())
        part.write_bytes(b"x" * 4_000_000)
        self.assertIn("bytes, found 4000000", self.download("clip").stderr)
        self.assertEqual(self.download("clip").returncode, 0)
        self.assertEqual(self.target.read_bytes(), WEIGHTS)

    def test_names_a_file_that_is_listed_and_missing(self):
        Hub.missing = {"model.safetensors"}
        result = self.download("clip")
        self.assertEqual(result.returncode, 1)
        self.assertIn("model.safetensors: expected the file, found HTTP 404", result.stderr)
        self.assertTrue(self.target.with_name("config.json").exists())
        self.assertFalse(self.target.exists())

    def test_puts_data_where_the_programs_look_for_it(self):
        Hub.files = {"LLaVA-Pretrain/chat-translated.json": b"[1]", "llava_instruct_230k.json": b"[2]", "data/pretrain_images.zip": b"z",
                     "sft_images.zip": b"zz", "weights/512_llm.pth": b"p", "768_llm.pth": b"q"}
        result = self.download("pretrain-data", "sft-data", "llm")
        self.assertEqual(result.returncode, 0, result.stderr)
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}
        self.assertEqual(found, {"dataset/LLaVA-Pretrain/chat-translated.json", "dataset/LLaVA-Instruct/llava_instruct_230k.json",
                                 "dataset/pretrain_images.zip", "dataset/sft_images.zip", "out/512_llm.pth", "out/768_llm.pth"})
        options = (SCRIPT.parents[1] / "src/train/options.cpp").read_text()
        for name in found:
            if name.startswith("dataset"):
                self.assertIn(f'"{name.removesuffix(".zip")}"', options)

    def test_leaves_its_folders_to_no_listing(self):
        Hub.files = {"../../evil/512_llm.pth": b"p", "/768_llm.pth": b"q"}
        self.assertEqual(self.download("llm").returncode, 0)
        self.assertEqual({str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}, {"out/512_llm.pth", "out/768_llm.pth"})
        self.assertFalse((self.root.parent.parent / "evil").exists())

    def test_says_so_where_the_answer_is_no_list_of_files(self):
        for listing in ({"error": "no"}, [1], [{"type": "file"}], "text", [None], 5):
            Hub.listing = listing
            result = self.download("clip")
            self.assertEqual(result.returncode, 1)
            self.assertNotIn("Traceback", result.stderr)

    def test_refuses_a_wrong_size_and_a_wrong_sum(self):
        Hub.lie_about_size = 7
        result = self.download("clip")
        self.assertEqual(result.returncode, 1)
        self.assertIn("bytes, found", result.stderr)
        Hub.lie_about_size, Hub.lie_about_sum = 0, True
        result = self.download("clip")
        self.assertEqual(result.returncode, 1)
        self.assertIn("expected sha256", result.stderr)
        self.assertFalse(self.target.exists())

    def test_takes_the_second_form_where_the_first_is_missing(self):
        Hub.files["pytorch_model.bin"] = Hub.files.pop("model.safetensors")
        self.assertEqual(self.download("clip").returncode, 0)
        self.assertTrue(self.target.with_name("pytorch_model.bin").exists())

    def test_names_a_missing_repository_and_an_unreachable_hub(self):
        self.assertIn("HTTP 404", self.download("tokenizer").stderr)
        self.assertIn("HF_ENDPOINT", self.download("clip", endpoint="http://127.0.0.1:1").stderr)
        self.assertEqual(self.download("nothing").returncode, 2)

    def test_dry_run_lists_sizes_and_brings_nothing(self):
        result = self.download("--dry_run", "clip")
        self.assertIn("3.0 MB", result.stdout)
        self.assertEqual(list(self.root.iterdir()), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
