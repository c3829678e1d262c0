#!/usr/bin/env python3
"""Chat, evaluation and the chat server on the make-believe card against the CPU. See card.py."""
import json
import os
import subprocess
import unittest

from card import CARD, Counts, environment
from server import BIN, IMAGES, SAMPLE, WebChat, make_model, question
from train_programs import Training, main


class Chat(Training):
    def setUp(self):
        super().setUp()
        self.files = make_model(self.out / "model")

    def run_program(self, program, *extra, code=0, cards=True):
        """Its answer and its messages. A program that sees cards leaves its counts."""
        settings = environment(self.out / "counts") if cards else {}
        result = subprocess.run([str(part) for part in (BIN / program, *self.files, *extra)], capture_output=True, text=True, timeout=300,
                                stdin=subprocess.DEVNULL, env={**os.environ, **settings})
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout, result.stderr

    def counts(self):
        return Counts(self.out / "counts")

    def test_the_answer_is_that_of_the_cpu(self):
        chat = ["--temperature", 0, "--max_new_tokens", 24, "--image", IMAGES[0], "--prompt", "What is this?"]
        expected, _ = self.run_program("eval_chat", *chat, cards=False)
        self.assertGreater(len(expected), 10)
        found, _ = self.run_program("eval_chat", *chat, *CARD)
        self.assertEqual(found, expected)
        self.assertGreater(self.counts()["sum_operation"], 100)
        self.run_program("eval_chat", *chat, *CARD, "--weights", "bfloat16")
        self.assertGreater(self.counts()["sum_operation"], 100)

    def test_auto_is_the_cpu(self):
        chat = ["--temperature", 0, "--max_new_tokens", 4, "--image", IMAGES[0], "--prompt", "What is this?"]
        for weights in ("float32", "bfloat16", "int8"):
            self.run_program("eval_chat", *chat, "--weights", weights)
            self.assertEqual(self.counts()["sum_operation"], 0, weights)

    def test_a_card_that_is_not_there_is_refused_in_words(self):
        for program, extra in (("eval_chat", ["--image", IMAGES[0], "--prompt", "x"]), ("web_chat", ["--port", 0])):
            _, told = self.run_program(program, *extra, "--device", "cuda:7", code=1)
            self.assertIn("error: --device: expected a CUDA device below 2, found cuda:7", told)

    def test_the_scores_are_those_of_the_cpu(self):
        flags = ["--kind", "sft", "--data_path", SAMPLE / "held_out.json", "--images_dir", SAMPLE / "images", "--attributes", SAMPLE / "attributes.json"]
        expected, found = (json.loads(self.run_program("evaluate", *flags, *extra)[0].splitlines()[-1]) for extra in (["--device", "cpu"], CARD))
        self.assertGreater(self.counts()["sum_operation"], 100)
        self.assertEqual(expected.keys(), found.keys())
        for name, value in expected.items():
            if isinstance(value, float) and "second" not in name:
                self.assertAlmostEqual(found[name], value, delta=1e-4 * abs(value), msg=name)

    def test_the_server_answers_like_the_cpu_and_stays_on_its_card(self):
        """Two threads of the server use the card; both have to make it their current device."""
        asked = {"temperature": 0, "max_tokens": 16}
        answers = []
        for extra in (["--device", "cpu"], CARD):
            os.environ.update(environment(self.out / "counts"))
            self.addCleanup(lambda: [os.environ.pop(name, None) for name in environment(self.out)])
            with WebChat(self.files, *extra) as server:
                answers.append([server.chat([question("What is this?", IMAGES[i])], **asked)[1]["choices"] for i in (0, 1)])
                self.assertEqual(server.stop(), 0)
        self.assertEqual(answers[0], answers[1])
        counts = self.counts()
        self.assertGreater(counts["sum_operation"], 100)
        self.assertEqual(counts["sum_misplaced"], 0, counts.names["misplaced"])
        self.assertEqual(counts["peak_bytes_0"], 0)


if __name__ == "__main__":
    main()
