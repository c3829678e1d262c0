#!/usr/bin/env python3
"""The real binaries on the committed sample: the whole chain, and bad input of every kind (one line, exit code, nothing half-written).
Environment MINIMIND_BIN names the folder with the binaries."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data/sample"
BIN = pathlib.Path(os.environ["MINIMIND_BIN"])
SHAPE = ["--init_from", "none", "--dim", "32", "--n_layers", "1", "--n_heads", "4", "--n_kv_heads", "2"]


def run(program, *arguments, **options):
    return subprocess.run([BIN / program, *map(str, arguments)], capture_output=True, text=True, timeout=300, stdin=options.pop("stdin", subprocess.DEVNULL), **options)


def inputs(**changes):
    values = dict(tokenizer=SAMPLE / "tokenizer.model", clip_dir=SAMPLE / "clip", images_dir=SAMPLE / "images", **{})
    values.update(changes)
    return [part for name, value in values.items() for part in (f"--{name}", value)]


def train(program, out, *extra, **changes):
    return run(program, *inputs(**changes), "--out_dir", out, "--batch_size", 8, "--num_workers", 1, "--epochs", 1, "--learning_rate", "2e-3", *extra)


class Folder(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def json_file(self, name, value):
        path = self.out / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    def refused(self, result, *expected, code=1):
        """One error line that holds every expected part, and the exit code."""
        self.assertEqual(result.returncode, code, result.stderr + result.stdout)
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, result.stderr)
        for part in expected:
            self.assertIn(str(part), errors[0])


class Chain(Folder):
    def test_trains_three_stages_and_answers(self):
        result = train("pretrain_vlm", self.out, *SHAPE, "--data_path", SAMPLE / "pretrain.json")
        self.assertEqual(result.returncode, 0, result.stderr)
        result = train("sft_vlm", self.out, "--data_path", SAMPLE / "sft.json", "--init_from", self.out / "32_vlm_pretrain.pth")
        self.assertEqual(result.returncode, 0, result.stderr)
        for multi in (["--multi"], ["--multi", "True", "--overwrite"]):
            result = train("sft_vlm", self.out, *multi, "--data_path", SAMPLE / "sft_multi.json", "--init_from", self.out / "32_vlm_sft.pth")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertTrue((self.out / "32_vlm_sft_multi.pth").exists())
        self.assertIn("<svg", (self.out / "index.html").read_text())
        chat = ["--checkpoint", self.out / "32_vlm_sft.pth", "--tokenizer", SAMPLE / "tokenizer.model", "--clip_dir", SAMPLE / "clip", "--temperature", 0, "--max_new_tokens", 8]
        images = sorted((SAMPLE / "images").iterdir())
        result = run("eval_chat", *chat, "--image", images[0], "--prompt", "What is this?")
        self.assertEqual(result.returncode, 0, result.stderr)
        folder = self.out / "pictures"
        folder.mkdir()
        shutil.copy(images[0], folder / ("a" + images[0].suffix))
        shutil.copy(images[1], folder / ("b" + images[1].suffix))
        result = run("eval_chat", *chat, "--image_dir", folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("a" + images[0].suffix, result.stdout + result.stderr)
        lines = self.out / "lines.txt"
        lines.write_text(f"/image {images[0]}\nwhat colour is it?\n/clear\n/help\n/quit\n")
        with lines.open() as stream:
            self.assertEqual(run("eval_chat", *chat, stdin=stream).returncode, 0)
        result = run("evaluate", *inputs(), "--checkpoint", self.out / "32_vlm_sft.pth", "--kind", "sft", "--data_path", SAMPLE / "held_out.json",
                     "--attributes", SAMPLE / "attributes.json", "--show", 1)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("accuracy", json.loads(result.stdout.splitlines()[-1]))

    def test_same_command_gives_the_same_numbers(self):
        contents = []
        for name in ("a", "b"):
            result = train("pretrain_vlm", self.out / name, *SHAPE, "--data_path", SAMPLE / "pretrain.json", "--max_steps", 3)
            self.assertEqual(result.returncode, 0, result.stderr)
            contents.append((self.out / name / "32_vlm_pretrain.pth").read_bytes())
        self.assertEqual(contents[0], contents[1])

    def test_reports_and_skips_a_bad_sample_among_good_ones(self):
        samples = json.loads((SAMPLE / "pretrain.json").read_text())
        broken = self.out / "images"
        shutil.copytree(SAMPLE / "images", broken)
        (broken / samples[0]["image"]).write_text("not an image")
        samples[1]["image"] = "missing.jpg"
        samples[2]["conversations"][0]["value"] = "no mark at all"
        samples[3]["conversations"][1]["value"] = None
        data = self.json_file("data.json", samples)
        result = train("pretrain_vlm", self.out / "out", *SHAPE, "--data_path", data, images_dir=broken)
        self.assertEqual(result.returncode, 0, result.stderr)
        for sample in samples[:4]:
            self.assertIn(sample["id"], result.stderr + result.stdout)


class BadInput(Folder):
    def pretrain(self, *extra, **changes):
        return train("pretrain_vlm", self.out / "out", *SHAPE, "--max_steps", 1, *extra, **changes)

    def test_usage_errors_exit_2(self):
        for program in ("pretrain_vlm", "sft_vlm", "eval_chat", "evaluate", "make_sample_data", "export_model"):
            result = run(program, "--no_such_flag", "1")
            self.assertEqual(result.returncode, 2, program + result.stderr)
            self.assertIn("no_such_flag", result.stderr)
            self.assertEqual(run(program, "--help").returncode, 0)
        self.refused(self.pretrain("--epochs", "many", "--data_path", SAMPLE / "pretrain.json"), "many", code=2)
        self.refused(self.pretrain("--batch_size", "0", "--data_path", SAMPLE / "pretrain.json"), "batch_size", code=2)
        self.refused(self.pretrain("--num_workers", "100000", "--data_path", SAMPLE / "pretrain.json"), "expected 0 to ", code=2)

    def test_missing_and_malformed_files_are_named(self):
        self.refused(self.pretrain("--data_path", self.out / "none.json"), self.out / "none.json")
        malformed = self.json_file("bad.json", '[\n {"id": "a",\n  "image": }\n]')
        self.refused(self.pretrain("--data_path", malformed), "bad.json", "line 3, column 12")
        self.refused(self.pretrain("--data_path", self.json_file("object.json", "{}")), "object.json")
        self.refused(self.pretrain("--data_path", self.json_file("empty.json", "[]")), "empty.json")
        good = ("--data_path", SAMPLE / "pretrain.json")
        self.refused(self.pretrain(*good, tokenizer=self.out / "no.model"), "no.model")
        self.refused(self.pretrain(*good, tokenizer=malformed), "bad.json")
        self.refused(self.pretrain(*good, clip_dir=self.out / "no_clip"), "no_clip")
        self.refused(self.pretrain(*good, images_dir=self.out / "no_images"), "no_images")
        self.assertFalse((self.out / "out/32_vlm_pretrain.pth").exists())

    def test_an_output_folder_that_cannot_be_written_is_refused_before_training(self):
        (self.out / "out").write_text("a file in the way")
        self.refused(self.pretrain("--data_path", SAMPLE / "pretrain.json"), "out", "expected a folder")

    def test_weights_that_do_not_fit_are_refused(self):
        self.assertEqual(self.pretrain("--data_path", SAMPLE / "pretrain.json").returncode, 0)
        weights = self.out / "out/32_vlm_pretrain.pth"
        sft = ("--data_path", SAMPLE / "sft.json")
        self.refused(train("sft_vlm", self.out / "sft", *sft, "--init_from", weights, "--dim", 64), "32", "64")
        self.refused(train("sft_vlm", self.out / "sft", *sft, "--init_from", self.out / "none.pth"), "none.pth")
        cut = self.out / "cut.pth"
        cut.write_bytes(weights.read_bytes()[:3000])
        self.refused(train("sft_vlm", self.out / "sft", *sft, "--init_from", cut), "cut.pth")
        text = self.json_file("text.pth", "hello")
        self.refused(train("sft_vlm", self.out / "sft", *sft, "--init_from", text), "text.pth")

    def test_chat_names_what_is_wrong_with_images(self):
        self.assertEqual(self.pretrain("--data_path", SAMPLE / "pretrain.json").returncode, 0)
        chat = ["--checkpoint", self.out / "out/32_vlm_pretrain.pth", "--tokenizer", SAMPLE / "tokenizer.model", "--clip_dir", SAMPLE / "clip"]
        image = next((SAMPLE / "images").iterdir())
        self.refused(run("eval_chat", *chat, "--image", self.out / "none.jpg", "--prompt", "x"), "none.jpg")
        self.refused(run("eval_chat", *chat, "--image", self.json_file("text.jpg", "text"), "--prompt", "x"), "text.jpg")
        self.refused(run("eval_chat", *chat, "--image", image, "--prompt", "<image> <image> x"), "2", "1")
        self.refused(run("eval_chat", *chat, "--image_dir", self.out / "nowhere"), "nowhere")
        self.refused(run("eval_chat", "--checkpoint", self.out / "none.pth", *chat[2:], "--image", image, "--prompt", "x"), "none.pth")


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
