#!/usr/bin/env python3
"""The chat page in a real Chromium; skipped (exit 77) where none is installed. Images of what it looked like go to MINIMIND_SCREENSHOTS."""
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

from devtools import Browser, Page, find_chromium
from server import IMAGES, WebChat, make_model

SCREENSHOTS = pathlib.Path(os.environ.get("MINIMIND_SCREENSHOTS", tempfile.gettempdir()))
ANSWERS = "[...document.querySelectorAll('.answer .bubble')].map((bubble) => bubble.textContent)"
LAST = "[...document.querySelectorAll('.answer')].pop()"
WRITTEN = f"!{LAST}.classList.contains('writing')"


def setUpModule():
    global temporary, files, browser
    temporary = tempfile.TemporaryDirectory()
    files = make_model(temporary.name)
    browser = Browser()


def tearDownModule():
    browser.close()
    temporary.cleanup()


class PageTest(unittest.TestCase):
    flags = ("--temperature", 0, "--max_seq_len", 30000, "--max_new_tokens", 1500, "--max_pictures", 4)
    size = (1100, 800)

    @classmethod
    def setUpClass(cls):
        cls.server = WebChat(files, *cls.flags)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def setUp(self):
        self.page = Page(browser, *self.size)
        self.page.open(self.server.url)
        self.page.run("localStorage.clear()")

    def tearDown(self):
        self.assertEqual(self.page.take_events("Runtime.exceptionThrown"), [])
        entries = [event["entry"] for event in self.page.take_events("Log.entryAdded")]
        self.assertEqual([entry for entry in entries if entry["source"] == "security"], [])
        urls = [event["request"]["url"] for event in self.page.take_events("Network.requestWillBeSent")]
        self.assertEqual([url for url in urls if not url.startswith((self.server.url, "data:", "blob:"))], [])

    def thumbnails(self):
        return self.page.run("document.querySelectorAll('#thumbnails img').length")

    def add(self, *paths):
        before = self.thumbnails()
        self.page.choose_files("#files", *paths)
        self.page.wait_for(f"document.querySelectorAll('#thumbnails img').length === {before + len(paths)}")

    def ask(self, text):
        self.page.run("document.getElementById('question').focus()")
        self.page.type(text)
        self.page.press("Enter")


class Asking(PageTest):
    def test_an_uploaded_image_is_asked_about_and_the_answer_streams(self):
        self.assertTrue(self.page.run("document.getElementById('send').disabled"))
        self.add(IMAGES[0])
        self.assertFalse(self.page.run("document.getElementById('send').disabled"))
        self.page.run("window.lengths = new Set(); new MutationObserver(() => window.lengths.add(document.querySelector('.answer .bubble').textContent.length))"
                      ".observe(document.getElementById('conversation'), {subtree: true, childList: true, characterData: true})")
        self.ask("What is this?")
        self.page.wait_for(WRITTEN)
        self.assertGreater(self.page.run("window.lengths.size"), 3, "the answer did not come piece by piece")
        self.assertEqual(self.thumbnails(), 0)
        self.assertEqual(self.page.run("document.querySelector('.asked .bubble').textContent"), "What is this?")
        self.assertEqual(self.page.run("document.querySelectorAll('.asked img').length"), 1)
        self.assertIn("1500 tokens in", self.page.run(f"{LAST}.querySelector('.note').textContent"))
        self.page.screenshot(SCREENSHOTS / "answered.png")

    def test_two_images_are_dropped_and_asked_about_together(self):
        self.page.drop_files("#welcome-drop", IMAGES[0], IMAGES[1])
        self.page.wait_for("document.querySelectorAll('#thumbnails img').length === 2")
        before = self.server.metric("minimind_pictures_total")
        self.page.screenshot(SCREENSHOTS / "two_images.png")
        self.page.click("#examples button")
        self.page.wait_for(WRITTEN)
        self.assertEqual(self.page.run("document.querySelectorAll('.asked img').length"), 2)
        self.assertEqual(self.server.metric("minimind_pictures_total"), before + 2)
        self.ask("And now?")
        self.page.wait_for(f"{ANSWERS}.length === 2 && {WRITTEN}")
        self.assertEqual(self.server.metric("minimind_pictures_total"), before + 4, "the conversation goes on with its images")

    def test_images_are_pasted_and_removed(self):
        self.page.run("""(async () => {
          const canvas = document.createElement('canvas');
          const blob = await new Promise((done) => canvas.toBlob(done));
          const data = new DataTransfer();
          data.items.add(new File([blob], 'pasted.png', { type: 'image/png' }));
          document.getElementById('question').dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
        })()""")
        self.page.wait_for("document.querySelectorAll('#thumbnails img').length === 1")
        self.page.click("#thumbnails button")
        self.page.wait_for("document.querySelectorAll('#thumbnails img').length === 0")

    def test_a_question_waits_for_its_image(self):
        """As long as an image is read, Enter and the button ask nothing; the page says so."""
        self.page.run("""(() => {
          const decode = HTMLImageElement.prototype.decode;
          const gate = new Promise((open) => { window.openGate = open; });
          HTMLImageElement.prototype.decode = function () { return gate.then(() => decode.call(this)); };
        })()""")
        self.page.choose_files("#files", IMAGES[0])
        self.page.wait_for("document.querySelectorAll('#thumbnails .loading').length === 1")
        self.ask("What is this?")
        self.page.click("#send")
        self.assertIn("still being read", self.page.run("document.getElementById('reading').textContent"))
        self.assertEqual(self.page.run("document.querySelectorAll('.turn').length"), 0)
        self.page.run("window.openGate()")
        self.page.wait_for("document.querySelectorAll('#thumbnails img').length === 1 && !document.getElementById('send').disabled")
        self.assertEqual(self.page.run("document.getElementById('reading').textContent"), "")
        self.page.press("Enter")
        self.page.wait_for(WRITTEN)
        self.assertEqual(self.page.run("document.querySelectorAll('.asked img').length"), 1)

    def test_an_image_that_is_read_after_clear_is_not_added(self):
        self.page.run("""(() => {
          const decode = HTMLImageElement.prototype.decode;
          HTMLImageElement.prototype.decode = function () { return new Promise((done) => { window.openGate = done; }).then(() => decode.call(this)); };
        })()""")
        self.page.choose_files("#files", IMAGES[0])
        self.page.wait_for("document.querySelectorAll('#thumbnails .loading').length === 1 && !!window.openGate")
        self.page.click("#clear")
        self.page.run("window.openGate()")
        self.page.wait_for("document.querySelectorAll('#thumbnails li').length === 0")

    def test_an_empty_question_about_an_image_asks_the_default_one(self):
        self.add(IMAGES[0])
        self.page.click("#send")
        self.page.wait_for(WRITTEN)
        self.assertEqual(self.page.run("document.querySelector('.asked .bubble').textContent"), "What is in the image?")

    def test_shift_enter_begins_a_line(self):
        self.page.type("one")
        self.page.press("Enter", shift=True)
        self.page.type("two")
        self.assertEqual(self.page.run("document.getElementById('question').value"), "one\ntwo")

    def test_the_enter_of_an_input_method_asks_nothing(self):
        """Chromium marks it as composing. Safari has ended the composition by then and gives the key the code 229 alone."""
        self.page.run("document.getElementById('question').focus()")
        self.page.type("你好")
        for fields in ("isComposing: true, keyCode: 13", "isComposing: false, keyCode: 229"):
            self.assertTrue(self.page.run("document.getElementById('question').dispatchEvent(new KeyboardEvent('keydown', "
                                          f"{{key: 'Enter', bubbles: true, cancelable: true, {fields}}}))"), "the default was prevented")
            self.assertEqual(self.page.run("document.querySelectorAll('.turn').length"), 0)
            self.assertEqual(self.page.run("document.getElementById('question').value"), "你好")
        self.page.press("Enter")
        self.page.wait_for(WRITTEN)

    def test_clear_forgets_everything_and_reload_begins_anew(self):
        self.ask("Hello")
        self.page.wait_for(WRITTEN)
        self.add(IMAGES[0])
        self.page.click("#clear")
        self.assertEqual(self.page.run("document.querySelectorAll('.turn, #thumbnails img').length"), 0)
        self.ask("Hello")
        self.page.wait_for(WRITTEN)
        self.page.reload()
        self.assertEqual(self.page.run("document.querySelectorAll('.turn').length"), 0)
        self.ask("Hello again")
        self.page.wait_for(WRITTEN)
        self.assertEqual(self.page.run(f"{ANSWERS}.length"), 1)

    def test_the_settings_are_those_of_the_server_and_go_with_the_question(self):
        self.assertTrue(self.page.run("document.getElementById('settings').hidden"))
        self.page.click("#settings-button")
        self.assertEqual(self.page.run("document.getElementById('temperature').value"), "0")
        self.page.run("document.getElementById('temperature').value = 2; document.getElementById('temperature').dispatchEvent(new Event('input'));"
                      "document.getElementById('top-k').value = 0")
        for _ in range(2):
            self.ask("Hello")
            self.page.wait_for(WRITTEN)
            self.page.run("window.answers = [...(window.answers || []), document.querySelector('.answer .bubble').textContent]")
            if self.page.run("window.answers.length") < 2:
                self.page.click("#clear")
        self.assertNotEqual(*self.page.run("window.answers"))


class Errors(PageTest):
    flags = ("--temperature", 0, "--max_seq_len", 160, "--max_new_tokens", 40)

    def test_a_text_file_dropped_as_image_is_told_in_words(self):
        with tempfile.TemporaryDirectory() as folder:
            notes = pathlib.Path(folder) / "notes.txt"
            notes.write_text("these are notes")
            disguised = pathlib.Path(folder) / "notes.png"
            shutil.copy(notes, disguised)
            for path in (notes, disguised):
                self.page.drop_files("#welcome-drop", path)
                self.page.wait_for("!document.getElementById('alert').hidden")
                self.assertIn(f"“{path.name}” is not an image", self.page.run("document.getElementById('alert').textContent"))
                self.assertEqual(self.thumbnails(), 0)
        self.page.screenshot(SCREENSHOTS / "no_image.png")
        self.add(IMAGES[0])
        self.assertTrue(self.page.run("document.getElementById('alert').hidden"), "the next image wipes it away")

    def test_a_refusal_of_the_server_is_shown_as_answer(self):
        self.ask("much too long " * 100)
        self.page.wait_for(WRITTEN)
        self.assertTrue(self.page.run(f"{LAST}.classList.contains('failed')"))
        self.assertIn("tokens (a context of 160", self.page.run(f"{ANSWERS}[0]"))
        self.page.screenshot(SCREENSHOTS / "refused.png")
        self.assertEqual(self.page.run("document.getElementById('question').value"), "much too long " * 100, "it can be shortened and asked again")
        self.page.run("document.getElementById('question').value = ''")
        self.ask("Short")
        self.page.wait_for(f"{ANSWERS}.length === 2 && {WRITTEN}")
        self.assertFalse(self.page.run(f"{LAST}.classList.contains('failed')"))

    def test_a_long_conversation_loses_its_oldest_turns_with_a_note(self):
        before = self.server.refusals()
        for number in range(1, 13):
            self.ask(f"Question {number}")
            self.page.wait_for(f"{ANSWERS}.length === {number} && {WRITTEN}")
        self.assertIn("dropped", self.page.run(f"{LAST}.querySelector('.note').textContent"))
        self.assertLess(self.server.refusals() - before, 12, "what was dropped once is not sent again")

    def test_a_question_that_fails_comes_back_and_is_answered_by_a_server_started_anew(self):
        with WebChat(files, *self.flags) as server:
            self.page.open(server.url)
            self.add(IMAGES[0])
            self.assertEqual(server.stop(), 0)
            self.ask("Hello")
            self.page.wait_for(WRITTEN)
            self.assertIn("Is web_chat still running?", self.page.run(f"{ANSWERS}[0]"))
            self.assertEqual(self.page.run("document.getElementById('question').value"), "Hello")
            self.assertEqual(self.thumbnails(), 1)
        with WebChat(files, *self.flags, "--port", server.port, "--model_name", "another") as again:
            self.page.press("Enter")
            self.page.wait_for(f"{ANSWERS}.length === 2 && {WRITTEN}")
            self.assertFalse(self.page.run(f"{LAST}.classList.contains('failed')"), self.page.run(f"{ANSWERS}.pop()"))
            self.assertIn("another model", self.page.run(f"{LAST}.querySelector('.note').textContent"))
            self.assertEqual(self.page.run("document.getElementById('model').textContent"), "another")
            self.assertEqual(again.metric("minimind_pictures_total"), 1)
        self.page.take_events("Network.requestWillBeSent")  # to these two servers


class LongConversations(PageTest):
    flags = ("--temperature", 0, "--max_seq_len", 30000, "--max_new_tokens", 2)

    def test_a_conversation_goes_on_beyond_the_messages_of_a_request(self):
        for number in range(1, 132):
            self.ask(f"Q{number}")
            self.page.wait_for(f"{ANSWERS}.length === {number} && {WRITTEN}")
        self.assertFalse(self.page.run(f"{LAST}.classList.contains('failed')"), self.page.run(f"{ANSWERS}.pop()"))
        self.assertIn("oldest 3 turns were dropped", self.page.run(f"{LAST}.querySelector('.note').textContent"))
        self.assertEqual(self.server.refusals(), 0)


class Stopping(PageTest):
    flags = ("--temperature", 0, "--max_seq_len", 30000, "--max_new_tokens", 29000)

    def test_a_stopped_answer_keeps_its_text_and_frees_the_server(self):
        for stop in (lambda: self.page.click("#stop"), lambda: self.page.press("Escape")):
            before = self.server.metric("minimind_vanished_clients_total")
            self.page.click("#clear")
            self.ask("Tell me a long story")
            self.page.wait_for(f"{LAST} && {ANSWERS}[0].length > 20")
            self.page.screenshot(SCREENSHOTS / "writing.png")
            self.assertFalse(self.page.run(WRITTEN), "the answer was over too soon for this test")
            stop()
            self.page.wait_for(WRITTEN)
            self.assertEqual(self.page.run("document.activeElement.id"), "question")
            self.assertIn("stopped", self.page.run(f"{LAST}.querySelector('.note').textContent"))
            self.assertGreater(self.page.run(f"{ANSWERS}[0].length"), 20)
            self.page.wait_for(f"(async () => !(await (await fetch('metrics')).text()).includes('minimind_vanished_clients_total {before:g}\\n'))()", 5)
        self.page.run("{ const box = document.getElementById('question'); box.value = 'Too soon'; "
                      "document.getElementById('composer').requestSubmit(); document.getElementById('stop').click(); }")
        self.page.wait_for(f"document.querySelectorAll('.turn').length === 2 && {WRITTEN}")
        self.assertEqual(self.page.run("document.getElementById('question').value"), "Too soon", "a question without a word of answer is given back")
        self.page.run("document.getElementById('question').value = ''")
        self.ask("And another one")
        self.page.wait_for(f"{ANSWERS}.length === 3 && {ANSWERS}[2].length > 20")
        self.page.press("Escape")
        self.page.wait_for(WRITTEN)


class Everybody(PageTest):
    def test_everything_has_a_name_in_both_languages(self):
        self.add(IMAGES[0])
        self.page.click("#settings-button")
        english = self.page.controls()
        self.page.click("#language")
        chinese = self.page.controls()
        self.assertEqual(self.page.run("document.documentElement.lang"), "zh-CN")
        for controls in (english, chinese):
            self.assertGreaterEqual(len(controls), 12, controls)
            self.assertEqual([one for one in controls if not one[1].strip()], [])
        self.assertIn(("button", "清空"), chinese)
        self.assertIn(("textbox", "问题"), chinese)
        self.page.screenshot(SCREENSHOTS / "chinese.png")
        self.page.reload()
        self.assertEqual(self.page.run("document.getElementById('clear').textContent"), "清空", "the language is remembered")
        self.page.click("#language")

    def test_the_focus_stays_with_the_question(self):
        focus = "document.activeElement.id"
        self.page.run("document.querySelector('#examples button').focus()")
        self.page.press("Enter")
        self.page.wait_for(f"document.querySelector('.turn') && {WRITTEN}")
        self.assertEqual(self.page.run(focus), "question", "after an example")
        self.page.type("Hello")
        self.page.run("document.getElementById('send').focus()")
        self.page.press("Enter")
        self.page.wait_for(f"{ANSWERS}.length === 2")
        self.assertIn(self.page.run(focus), ("stop", "question"), "while the answer is written")
        self.page.wait_for(WRITTEN)
        self.assertEqual(self.page.run(focus), "question", "after the answer")

    def test_works_with_the_keyboard_alone(self):
        self.add(IMAGES[0])
        reached = set()
        for _ in range(20):
            self.page.press("Tab")
            reached.add(self.page.run("(document.activeElement.closest('[id]') || document.body).id"))
        self.assertLessEqual({"settings-button", "clear", "language", "examples", "thumbnails", "choose", "question", "send"}, reached)
        self.page.run("document.getElementById('settings-button').focus()")
        self.page.press("Enter")
        self.assertFalse(self.page.run("document.getElementById('settings').hidden"))
        self.page.run("document.querySelector('#thumbnails button').focus()")
        self.page.press(" ")
        self.page.wait_for("document.querySelectorAll('#thumbnails img').length === 0")
        self.assertEqual(self.page.run("document.activeElement.id"), "question")


class Phone(PageTest):
    size = (390, 760)

    def test_nothing_is_wider_than_a_phone(self):
        self.page.resize(390, 760, scale=2, mobile=True)
        self.page.screenshot(SCREENSHOTS / "phone_welcome.png")
        self.add(IMAGES[0], IMAGES[1], IMAGES[2])
        self.page.click("#settings-button")
        self.page.screenshot(SCREENSHOTS / "phone_settings.png")
        self.page.click("#settings-button")
        self.page.click("#send")
        self.page.wait_for(WRITTEN)
        for language in ("en", "zh"):
            self.assertLessEqual(self.page.run("document.scrollingElement.scrollWidth"), 390)
            beyond = self.page.run("[...document.querySelectorAll('header *, #composer *, .turn *')].filter((one) => one.getBoundingClientRect().right > 391)"
                                   ".map((one) => one.outerHTML.slice(0, 80))")
            self.assertEqual(beyond, [])
            self.page.screenshot(SCREENSHOTS / f"phone_{language}.png")
            self.page.click("#language")


if __name__ == "__main__":
    if find_chromium() is None:
        print("SKIPPED, NOT RUN: no Chromium here; install the package chromium, or name one with MINIMIND_CHROMIUM")
        sys.exit(77)
    unittest.main(argv=sys.argv)
