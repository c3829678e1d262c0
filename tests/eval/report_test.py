#!/usr/bin/env python3
"""Reports and scores of the real eval_chat on the committed sample. Environment MINIMIND_BIN names the folder with the binaries."""
import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data/sample"
BIN = pathlib.Path(os.environ["MINIMIND_BIN"])
PARTS = ["--tokenizer", SAMPLE / "tokenizer.model", "--clip_dir", SAMPLE / "clip", "--threads", 1]


def run(program, *arguments):
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    return subprocess.run([BIN / program, *map(str, arguments)], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, env=environment)


class Page(html.parser.HTMLParser):
    """Cells of the page's table by row, and the addresses of its images."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.addresses, self.tags, self.open = [], [], set(), False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.open = True
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.open = False

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1] += data


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.models = tempfile.TemporaryDirectory()
        out = pathlib.Path(cls.models.name)
        for name, steps in (("a", 3), ("b", 40)):
            result = run("pretrain_vlm", "--tokenizer", SAMPLE / "tokenizer.model", "--clip_dir", SAMPLE / "clip", "--images_dir", SAMPLE / "images",
                         "--data_path", SAMPLE / "pretrain.json", "--out_dir", out / name, "--init_from", "none", "--dim", 32, "--n_layers", 1, "--n_heads", 4,
                         "--n_kv_heads", 2, "--batch_size", 8, "--max_steps", steps, "--num_workers", 1, "--epochs", 10, "--learning_rate", "4e-3")
            assert result.returncode == 0, result.stderr
        cls.a, cls.b = out / "a/32_vlm_pretrain.pth", out / "b/32_vlm_pretrain.pth"

    @classmethod
    def tearDownClass(cls):
        cls.models.cleanup()

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.temporary.name)
        self.images = self.out / "pictures"
        self.images.mkdir()
        for number, image in enumerate(sorted((SAMPLE / "images").iterdir())[:3]):
            shutil.copy(image, self.images / f"{number} & <b>红{image.suffix}")

    def tearDown(self):
        self.temporary.cleanup()

    def report(self, *arguments, path=None, images=None, checkpoints=None):
        return run("eval_chat", *PARTS, "--image_dir", images or self.images, "--checkpoints", checkpoints or f"{self.a},{self.b}",
                   "--report", path or self.out / "report.html", "--temperature", 0, "--max_new_tokens", 6, *arguments)

    def page(self, *arguments, **options):
        """The page of a report without a problem."""
        result = self.report(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return Page((self.out / "report.html").read_text())

    def refused(self, result, *expected, code=1):
        self.assertEqual(result.returncode, code, result.stderr + result.stdout)
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, result.stderr)
        for part in expected:
            self.assertIn(str(part), errors[0])
        self.assertEqual([entry.name for entry in self.out.iterdir() if "report" in entry.name], [])

    def test_has_a_row_an_image_and_a_column_a_checkpoint(self):
        page = self.page()
        self.assertEqual([len(row) for row in page.rows], [3, 3, 3, 3])
        for column, checkpoint in ((1, self.a), (2, self.b)):
            self.assertIn(str(checkpoint), page.rows[0][column])
            self.assertIn("tokens/s", page.rows[0][column])
            self.assertIn("3 answers", page.rows[0][column])
        self.assertIn("0 & <b>红", page.rows[1][0])
        self.assertEqual(len(page.addresses), 3)
        self.assertTrue(all(address.startswith("data:image/jpeg;base64,") for address in page.addresses))
        self.assertFalse(page.tags & {"script", "link", "iframe"})

    def test_gives_the_answers_that_a_folder_run_gives(self):
        page = self.page()
        for column, checkpoint in ((1, self.a), (2, self.b)):
            result = run("eval_chat", *PARTS, "--image_dir", self.images, "--checkpoint", checkpoint, "--temperature", 0, "--max_new_tokens", 6)
            answers = re.split(r"^\d & <b>红\.\w+: ", result.stdout, flags=re.MULTILINE)[1:]
            self.assertEqual([row[column] for row in page.rows[1:]], [answer.strip() or "no answer" for answer in answers])

    def test_compares_answers_about_several_images(self):
        page = self.page("--multi", images=self.groups(2))
        self.assertEqual([len(row) for row in page.rows], [4, 4])
        self.assertEqual(len(page.addresses), 2)

    def groups(self, *sizes):
        """A folder with subfolders of so many images each."""
        groups = self.out / "groups"
        images = sorted((SAMPLE / "images").iterdir())
        for number, size in enumerate(sizes):
            (groups / f"group{number}").mkdir(parents=True)
            for image in images[:size]:
                shutil.copy(image, groups / f"group{number}")
        return groups

    def test_tells_each_rows_own_question(self):
        rows = self.page("--multi", images=self.groups(2, 1)).rows
        self.assertEqual([row[0] for row in rows[1::2]], ["Name all the differences between these two birds.", "这个图片描述的是什么内容？"])

    def test_tells_a_question_that_does_not_fit_in_its_cells(self):
        result = self.report("--multi", "--prompt", "<image> <image> what?", images=self.groups(2, 1))
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("group1", result.stderr)
        rows = Page((self.out / "report.html").read_text()).rows
        self.assertEqual(len(rows), 3)
        self.assertNotIn("group0: ", rows[1][-1])
        for cell in rows[2][-2:]:
            self.assertIn("group1: ", cell)

    def test_refuses_a_question_that_fits_no_row(self):
        self.refused(self.report("--multi", "--prompt", "<image> <image> what?", images=self.groups(1, 3)), "group0", "expected answers, found only errors")

    def test_tells_a_broken_image_in_its_row(self):
        (self.images / "9.png").write_text("no image")
        result = self.report()
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("9.png", result.stderr)
        page = Page((self.out / "report.html").read_text())
        self.assertIn("9.png", page.rows[-1][-1])
        self.assertEqual(len(page.rows), 5)

    def test_refuses_what_cannot_be_reported_and_leaves_nothing(self):
        self.refused(self.report(checkpoints=f"{self.a},{self.out}/missing.pth"), "missing.pth")
        empty = self.out / "empty"
        empty.mkdir()
        self.refused(self.report(images=empty), empty, "expected images")
        (empty / "a.png").write_text("no image")
        self.refused(self.report(images=empty), "found no image that can be read")
        self.refused(self.report(path=self.out / "nowhere/report.html"), "nowhere/report.html")
        self.refused(self.report(path=self.images), self.images, "found a folder")
        self.refused(self.report(path="/proc/report.html"), "/proc/report.html")
        self.refused(run("eval_chat", *PARTS, "--checkpoints", self.a), "--report", code=2)
        self.refused(run("eval_chat", *PARTS, "--checkpoint", self.a, "--report", self.out / "report.html"), "--image_dir", code=2)
        self.refused(self.report("--checkpoint", self.a), "--checkpoints", code=2)
        self.refused(self.report(checkpoints=",,"), "--checkpoints", ",,", code=2)

    def test_keeps_an_older_report_when_the_new_one_fails(self):
        (self.out / "report.html").write_text("old")
        self.assertEqual(self.report(checkpoints=f"{self.a},{self.out}/missing.pth").returncode, 1)
        self.assertEqual((self.out / "report.html").read_text(), "old")

    def test_scores_like_evaluate(self):
        common = ["--max_new_tokens", 8, *PARTS]
        result = run("eval_chat", *common, "--data", SAMPLE / "held_out.json", "--checkpoints", f"{self.a},{self.b}")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([line["checkpoint"] for line in lines], [str(self.a), str(self.b)])
        for line in lines:
            evaluated = run("evaluate", *common, "--data_path", SAMPLE / "held_out.json", "--images_dir", SAMPLE / "images", "--attributes",
                            SAMPLE / "attributes.json", "--checkpoint", line["checkpoint"], "--max_seq_len", 1024)
            self.assertEqual(evaluated.returncode, 0, evaluated.stderr)
            expected = json.loads(evaluated.stdout.splitlines()[-1])
            for key in ("samples", "accuracy", "accuracy_by", "exact_match", "token_f1", "skipped"):
                self.assertEqual(line[key], expected[key])
            self.assertEqual((line["accuracy_by"], line["samples"]), ("attributes", 12))

    def test_puts_scores_into_the_report(self):
        scores = self.page("--data", SAMPLE / "held_out.json", "--images_dir", SAMPLE / "images").rows[0][1]
        self.assertIn("token F1", scores)
        self.assertIn("greedy", scores)

    def test_scores_with_narrow_weights(self):
        for weights in ("bfloat16", "int8"):
            result = run("eval_chat", *PARTS, "--max_new_tokens", 8, "--data", SAMPLE / "held_out.json", "--checkpoint", self.b, "--weights", weights)
            self.assertEqual(result.returncode, 0, result.stderr)
            line = json.loads(result.stdout)
            self.assertEqual((line["weights"], line["samples"]), (weights, 12))

    def test_refuses_data_that_is_not_there(self):
        self.refused(run("eval_chat", *PARTS, "--data", self.out / "missing.json", "--images_dir", self.images, "--checkpoint", self.a), "missing.json")
        self.refused(run("eval_chat", *PARTS, "--data", self.out / "missing.json", "--checkpoint", self.a), "missing.json")
        self.refused(run("eval_chat", *PARTS, "--data", SAMPLE / "held_out.json", "--images_dir", self.out / "nothing", "--checkpoint", self.a), "nothing")

    def test_refuses_flags_that_would_not_change_a_score(self):
        data = ("--data", SAMPLE / "held_out.json", "--checkpoint", self.a)
        for flag, value in (("temperature", 1.5), ("top_k", 3), ("top_p", 0.5), ("repetition_penalty", 1.2), ("prompt", "What?"), ("image", "a.jpg")):
            self.refused(run("eval_chat", *PARTS, *data, f"--{flag}", value), "--data", f"--{flag}", code=2)

    def test_scores_a_subset_that_the_attributes_do_not_know(self):
        shutil.copy(SAMPLE / "attributes.json", self.out)
        subset = self.out / "my.json"
        subset.write_text(json.dumps(json.loads((SAMPLE / "held_out.json").read_text())[:3]))
        data = ("--data", subset, "--images_dir", SAMPLE / "images", "--checkpoint", self.a, "--max_new_tokens", 6)
        self.refused(run("eval_chat", *PARTS, *data), "my.json", "--attributes none")
        result = run("eval_chat", *PARTS, *data, "--attributes", "none")
        self.assertEqual(result.returncode, 0, result.stderr)
        line = json.loads(result.stdout)
        self.assertEqual((line["samples"], line["accuracy_by"]), (3, "exact match"))


unittest.main()
