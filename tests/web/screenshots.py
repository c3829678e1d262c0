#!/usr/bin/env python3
"""Takes the images of the page that the documentation shows. usage: MINIMIND_BIN=… screenshots.py OUT IMAGE IMAGE [web_chat's flags that name the model]"""
import pathlib
import sys

from devtools import Browser, Page
from page_test import LAST, WRITTEN
from server import WebChat


def ask(page, language, question, *images):
    """A new conversation of one question."""
    if page.run("document.documentElement.lang").startswith("zh") != (language == "zh"):
        page.click("#language")
    page.click("#clear")
    page.choose_files("#files", *images)
    page.wait_for(f"document.querySelectorAll('#thumbnails img').length === {len(images)}")
    page.run("document.getElementById('question').focus()")
    page.type(question)
    page.press("Enter")
    page.wait_for(f"{LAST} && {WRITTEN}")
    print(question, page.run(f"{LAST}.querySelector('.bubble').textContent"))


def main():
    out, first, second = pathlib.Path(sys.argv[1]), *sys.argv[2:4]
    browser = Browser()
    try:
        with WebChat(sys.argv[4:], "--temperature", 0) as server:
            page = Page(browser, 760, 640)
            page.open(server.url)
            page.screenshot(out / "welcome.png")
            ask(page, "en", "Where is the shape?", first)
            page.choose_files("#files", second)
            page.wait_for("document.querySelectorAll('#thumbnails img').length === 1")
            page.screenshot(out / "english.png")
            ask(page, "zh", "图形是什么颜色？", second)
            page.click("#settings-button")
            page.screenshot(out / "chinese.png")
            page.click("#settings-button")
            page.resize(390, 760, scale=2, mobile=True)
            ask(page, "zh", "图形在哪里？", second)
            page.screenshot(out / "phone.png")
            page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
            ask(page, "en", "Name all the differences between these two shapes.", first, second)
            page.screenshot(out / "phone_dark.png")
    finally:
        browser.close()


main()
