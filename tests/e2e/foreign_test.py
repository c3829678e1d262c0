#!/usr/bin/env python3
"""What is no file of ours, and output that cannot be written: the real binaries against devices, pipes, links, full disks and readers that end.
Environment MINIMIND_BIN names the folder with the binaries."""
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "train"))
from train_programs import BIN, SAMPLE, STEM, Training, training  # noqa: E402

IMAGE = sorted((SAMPLE / "images").glob("*.jpg"))[0]
PROGRAMS = ("pretrain_vlm", "sft_vlm", "eval_chat", "evaluate", "export_model", "make_sample_data", "web_chat")


class Foreign(Training):
    """`model`: a model that one step has trained."""

    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
        subprocess.run(training(cls.shared, "--max_steps", 1), check=True, capture_output=True)
        cls.model = cls.shared / f"{STEM}.pth"

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared)

    def parts(self, **changes):
        values = {"checkpoint": self.model, "tokenizer": SAMPLE / "tokenizer.model", "clip_dir": SAMPLE / "clip", "threads": 1, **changes}
        return [str(part) for name, value in values.items() for part in (f"--{name}", value)]

    def run_program(self, program, *arguments, seconds=60, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}
        return subprocess.run([BIN / program, *map(str, arguments)], stderr=subprocess.PIPE, text=True, timeout=seconds, errors="replace", **options)

    def chat(self, *arguments, **options):
        return self.run_program("eval_chat", *self.parts(), "--max_new_tokens", 4, *arguments, **options)

    def refused(self, result, *expected):
        self.assertEqual(result.returncode, 1, result.stderr)
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        self.assertTrue(errors, result.stderr)
        for part in expected:
            self.assertIn(str(part), errors[-1])

    def strange(self, name):
        """A pipe, a socket, an endless device and a folder, each under this name in a folder of its own, with the word for it."""
        pipe, plug, zero, folder = (self.out / f"{kind}" for kind in ("pipe", "plug", "zero", "folder"))
        for place in (pipe, plug, zero, folder):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        os.mkfifo(pipe / name)
        listener = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(plug)  # a socket's path has at most 108 bytes
        listener.bind(name)
        os.chdir(here)
        listener.close()
        (zero / name).symlink_to("/dev/zero")
        (folder / name).mkdir()
        return [(pipe / name, "a pipe"), (plug / name, "a socket"), (zero / name, "a device"), (folder / name, "a folder")]


class Inputs(Foreign):
    def test_an_image_that_is_no_file_is_an_error_at_once(self):
        for path, kind in self.strange("a.jpg"):
            self.refused(self.chat("--image", path, "--prompt", "x"), path, kind)
            self.refused(self.chat(input=f"/image {path}\n", stdin=None), path, kind)
            self.refused(self.chat("--image", IMAGE, "--image", path, "--prompt", "x"), path, kind)

    def test_an_entry_of_a_folder_that_is_no_file_does_not_stop_the_others(self):
        for path, kind in self.strange("b.jpg")[:3]:
            shutil.copy(IMAGE, path.parent / "a.jpg")
            shutil.copy(IMAGE, path.parent / "c.jpg")
            result = self.chat("--image_dir", path.parent)
            self.refused(result, path, kind)
            self.assertIn("c.jpg", result.stdout)

    def test_settings_data_and_models_that_are_no_files_are_errors_at_once(self):
        for name, flag in (("c.json", "--config"), ("d.json", "--data_path"), ("i.pth", "--init_from"), ("v.json", "--val_data"),
                           ("r.safetensors", "--resume"), ("t.model", "--tokenizer"), ("t.json", "--tokenizer")):
            for path, kind in self.strange(name):
                result = self.run_program("pretrain_vlm", *training(self.out / "run")[1:], flag, path)
                self.assertEqual(result.returncode, 1, f"{flag} {path}: {result.stderr}")
                if not path.is_dir():
                    self.assertIn(kind, result.stderr)
        for path, kind in self.strange("m.pth"):
            for program, arguments in (("eval_chat", self.parts(checkpoint=path)), ("export_model", ["--checkpoint", path, "--out", self.out / "x.pth"])):
                self.refused(self.run_program(program, *arguments), path)

    def test_parts_of_an_encoder_that_are_no_files_are_errors_at_once(self):
        for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
            for path, kind in self.strange(name):
                for source in (SAMPLE / "clip").iterdir():
                    if source.name != name:
                        shutil.copy(source, path.parent)
                self.refused(self.run_program("eval_chat", *self.parts(clip_dir=path.parent), "--image", IMAGE, "--prompt", "x"), path, kind)

    def test_images_and_attributes_of_a_data_set_that_are_no_files_are_errors_at_once(self):
        for path, kind in self.strange("a.json"):
            arguments = [*self.parts(), "--data_path", SAMPLE / "held_out.json", "--images_dir", SAMPLE / "images"]
            self.refused(self.run_program("evaluate", *arguments, "--attributes", path), path, kind)
        for path, kind in self.strange("images.zip")[:3]:
            self.refused(self.run_program("evaluate", *self.parts(), "--data_path", SAMPLE / "held_out.json", "--images_dir", path), path)

    def test_standard_input_that_is_no_text_is_an_error(self):
        with open("/dev/zero") as zero:
            self.refused(self.chat(stdin=zero), "standard input", "zero byte")
        self.refused(self.chat(input="x" * 2_000_000, stdin=None), "standard input", "longer line")
        folder = os.open(self.out, os.O_RDONLY)
        self.refused(self.chat(stdin=folder), "standard input")
        os.close(folder)

    def test_metrics_and_locks_of_another_kind_do_not_stop_a_run(self):
        run = self.out / "run"
        run.mkdir()
        (run / "metrics.jsonl").symlink_to("/dev/null")
        (run / ".lock").write_text("precious text of another program\n")
        self.run_training(run, "--max_steps", 2)
        self.assertTrue((run / "metrics.jsonl").is_symlink())
        self.assertEqual((run / ".lock").read_text(), "precious text of another program\n")
        (run / "metrics.jsonl").unlink()
        os.mkfifo(run / "metrics.jsonl")
        self.assertIn("nobody reads", self.run_training(run, "--max_steps", 2, "--overwrite", code=1))
        self.assertTrue(stat.S_ISFIFO(os.lstat(run / "metrics.jsonl").st_mode))


class Outputs(Foreign):
    def setUp(self):
        super().setUp()
        self.images = self.out / "images"
        self.images.mkdir()
        shutil.copy(IMAGE, self.images / "a.jpg")

    def report(self, path, **options):
        return self.chat("--image_dir", self.images, "--report", path, **options)

    def test_a_device_a_pipe_and_a_link_stay_what_they_are(self):
        device, link, pipe = self.out / "null", self.out / "link.html", self.out / "pipe.html"
        if os.getuid() == 0:
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        else:
            device.symlink_to("/dev/null")
        self.assertEqual(self.report(device).returncode, 0)
        self.assertTrue(stat.S_ISCHR(os.stat(device).st_mode))
        link.symlink_to("far.html")
        self.assertEqual(self.report(link).returncode, 0)
        self.assertTrue(link.is_symlink())
        self.assertIn("<html", (self.out / "far.html").read_text())
        os.mkfifo(pipe)
        self.refused(self.report(pipe), pipe, "nobody reads")
        with subprocess.Popen(["timeout", "60", "cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
            self.assertEqual(self.report(pipe).returncode, 0)
            self.assertIn("<html", reader.stdout.read())
        self.assertTrue(stat.S_ISFIFO(os.lstat(pipe).st_mode))

    def test_the_mode_of_a_replaced_file_stays(self):
        path = self.out / "report.html"
        path.write_text("old")
        path.chmod(0o600)
        self.assertEqual(self.report(path).returncode, 0)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertNotEqual(path.read_text(), "old")

    def test_weights_go_through_a_link_and_into_a_device(self):
        link = self.out / "run" / f"{STEM}.pth"
        link.parent.mkdir()
        link.symlink_to(self.out / "disk.pth")
        self.run_training(self.out / "run", "--max_steps", 1)
        self.assertTrue(link.is_symlink())
        self.assertEqual((self.out / "disk.pth").read_bytes(), self.model.read_bytes())
        device = self.out / "null.pth"
        device.symlink_to("/dev/null")
        result = self.run_program("export_model", "--checkpoint", self.model, "--out", device)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(stat.S_ISCHR(os.stat(device).st_mode))


class StandardOutput(Foreign):
    def commands(self):
        """Every program and mode that prints a result."""
        data = ["--data_path", SAMPLE / "held_out.json", "--images_dir", SAMPLE / "images", "--max_samples", 2]
        folder = self.out / "images"
        folder.mkdir(exist_ok=True)
        shutil.copy(IMAGE, folder / "a.jpg")
        yield from ((program, flag) for program in PROGRAMS for flag in ("--help", "--help_all", "--version", "--print_config"))
        yield "eval_chat", *self.parts(), "--image", IMAGE, "--prompt", "x"
        yield "eval_chat", *self.parts(), "--image_dir", folder
        yield "eval_chat", *self.parts(), "--data", SAMPLE / "held_out.json", "--images_dir", SAMPLE / "images"
        yield "evaluate", *self.parts(), *data
        yield "evaluate", *self.parts(), *data, "--show", 2
        yield "export_model", "--checkpoint", self.model, "--out", self.out / "x.pth"
        yield "web_chat", *self.parts(), "--port", 0
        yield (*["pretrain_vlm", *training(self.out / "run")[1:]], "--check_data")
        yield (*["pretrain_vlm", *training(self.out / "run")[1:]], "--plan")

    def test_a_full_disk_is_an_error_in_every_mode(self):
        for command in self.commands():
            with open("/dev/full", "w") as full, self.subTest(" ".join(map(str, command))):
                self.refused(self.run_program(*command, stdout=full), "standard output", "No space left")

    def test_a_closed_descriptor_is_an_error_and_no_file_takes_its_place(self):
        for command in self.commands():
            with self.subTest(" ".join(map(str, command))):
                result = self.run_program(*command, preexec_fn=lambda: os.close(1))
                self.refused(result, "standard output", "Bad file descriptor")

    def test_piped_questions_end_at_the_first_answer_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            result = self.chat(input="hello\n" * 200, stdin=None, stdout=full)
        self.refused(result, "standard output")

    def test_training_prints_no_result_and_needs_no_output(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run(training(self.out / "run", "--max_steps", 2), stdout=full, stderr=full, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 0)
        result = subprocess.run(training(self.out / "closed", "--max_steps", 2), close_fds=True, preexec_fn=lambda: [os.close(i) for i in (0, 1, 2)])
        self.assertEqual(result.returncode, 0)
        for name in ("run", "closed"):
            self.assertEqual((self.out / name / f"{STEM}.pth").stat().st_size, self.run_reference())

    def run_reference(self):
        return self.model.stat().st_size


class Readers(Foreign):
    def shell(self, line):
        process = subprocess.Popen(["bash", "-c", line], start_new_session=True, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        self.started.append(process)
        return process

    def command(self, run, *extra):
        return " ".join(f"'{word}'" for word in training(run, *extra))

    def test_a_reader_that_ends_does_not_end_the_training(self):
        for extra in ((), ("--processes", 2)):
            run = self.out / f"run{len(extra)}"
            process = self.shell(f"{self.command(run, '--max_steps', 6, *extra)} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}")
            self.assertEqual(process.wait(180), 0)
            self.assertTrue((run / f"{STEM}.pth").exists())

    def test_a_signal_to_the_group_with_tee_saves(self):
        for sent in (signal.SIGTERM, signal.SIGINT):
            for extra in ((), ("--processes", 2)):
                run = self.out / f"{sent.name}{len(extra)}"
                process = self.shell(f"{self.command(run, '--epochs', 4000, '--save_interval', 0, *extra)} 2>&1 | tee '{run}.log'")
                end = time.monotonic() + 120
                while time.monotonic() < end and not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text():
                    time.sleep(0.05)
                os.killpg(process.pid, sent)
                while time.monotonic() < end and not (run / f"{STEM}.pth").exists():
                    time.sleep(0.05)
                self.assertTrue((run / f"{STEM}.pth").exists(), f"{sent.name} {extra}")


if __name__ == "__main__":
    unittest.main()
