#!/usr/bin/env python3
"""The `openai` package as a client of web_chat."""
import sys
import tempfile
import unittest

import openai

from server import LONG, IMAGES, WebChat, make_model, question


class OpenAiClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = WebChat(make_model(cls.folder.name), "--max_seq_len", 20000, "--max_new_tokens", 19000)
        cls.client = openai.OpenAI(base_url=cls.server.url + "v1", api_key="none", max_retries=0)
        cls.model = cls.client.models.list().data[0].id

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()
        cls.folder.cleanup()

    def ask(self, *messages, **options):
        return self.client.chat.completions.create(model=self.model, messages=list(messages), **{"max_tokens": 12, "temperature": 0, **options})

    def test_lists_and_finds_the_model(self):
        self.assertEqual(self.client.models.retrieve(self.model).id, self.model)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("another")
        with self.assertRaises(openai.NotFoundError):
            self.client.chat.completions.create(model="another", messages=[question("x")])

    def test_answers_about_an_image(self):
        answer = self.ask(question("What is this?", IMAGES[0]))
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.model, self.model)
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertIn(answer.choices[0].finish_reason, ("stop", "length"))
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertLessEqual(answer.usage.completion_tokens, 12)
        plain = self.ask(question("What is this?"))
        self.assertGreater(answer.usage.prompt_tokens, plain.usage.prompt_tokens)

    def test_takes_its_own_answer_back_in_a_conversation(self):
        first = question("What is this?", IMAGES[0], IMAGES[1])
        answer = self.ask(first)
        longer = self.ask(first, answer.choices[0].message, question("And now?"))
        self.assertGreater(longer.usage.prompt_tokens, answer.usage.prompt_tokens)
        dumped = self.ask(first, answer.choices[0].message.model_dump(), question("And now?"))
        self.assertEqual(dumped.choices[0].message.content, longer.choices[0].message.content)

    def test_streams_the_same_answer(self):
        whole = self.ask(question("What is this?", IMAGES[0]))
        chunks = list(self.ask(question("What is this?", IMAGES[0]), stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), whole.choices[0].message.content)
        self.assertEqual(chunks[-2].choices[0].finish_reason, whole.choices[0].finish_reason)
        self.assertEqual(chunks[-1].usage, whole.usage)
        self.assertEqual({chunk.id for chunk in chunks}, {chunks[0].id})

    def test_draws_as_it_is_told(self):
        def text(**options):
            return self.ask(question("x"), **{"temperature": 2, "extra_body": {"top_k": 0}, "max_tokens": 40, **options}).choices[0].message.content
        self.assertEqual(text(seed=3), text(seed=3))
        self.assertNotEqual(text(seed=3), text(seed=4))
        greedy = self.ask(question("x"), max_tokens=40).choices[0].message.content
        self.assertEqual(text(seed=3, extra_body={"top_k": 1}), greedy)
        self.assertEqual(text(seed=3, top_p=1e-6), greedy)

    def test_stops_at_a_string_and_at_a_number_of_tokens(self):
        whole = self.ask(question("x"), max_tokens=40)
        self.assertEqual(whole.choices[0].finish_reason, "length")
        text = whole.choices[0].message.content
        stop = text[len(text) // 2:len(text) // 2 + 2]
        cut = self.ask(question("x"), max_tokens=40, stop=[stop, "never this"])
        self.assertEqual(cut.choices[0].message.content, text[:text.index(stop)])
        self.assertEqual(cut.choices[0].finish_reason, "stop")
        self.assertEqual(self.ask(question("x"), max_tokens=5).usage.completion_tokens, 5)
        self.assertEqual(self.client.chat.completions.create(model=self.model, messages=[question("x")], max_completion_tokens=5, temperature=0).usage.completion_tokens, 5)

    def test_a_closed_stream_frees_the_server(self):
        stream = self.client.chat.completions.create(model=self.model, messages=[question("x")], stream=True, **LONG)
        next(iter(stream))
        stream.close()
        self.assertEqual(self.ask(question("x")).object, "chat.completion")

    def test_errors_are_the_clients_own_exceptions(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask(question("x"), temperature=9)
        self.assertEqual((caught.exception.param, caught.exception.code), ("temperature", "invalid_value"))
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask(question("x", b"notes"))
        self.assertEqual(caught.exception.code, "invalid_image")
        with self.assertRaises(openai.BadRequestError):
            self.ask({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}]})
        with self.assertRaises(openai.BadRequestError):
            self.ask(question("x"), n=2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
