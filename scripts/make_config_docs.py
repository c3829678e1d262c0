#!/usr/bin/env python3
"""Writes docs/CONFIG.md: the settings of training, from `sft_vlm --help_all`.

usage: make_config_docs.py BIN_DIR [--check]; --check writes nothing and exits 1 if the file differs.
"""
import pathlib
import re
import subprocess
import sys

TARGET = pathlib.Path(__file__).resolve().parent.parent / "docs/CONFIG.md"
HEAD = """# Settings of training

`pretrain_vlm` and `sft_vlm` have these settings. Each is a flag `--NAME` and a key of the JSON file
that `--config` reads: defaults < file < flags. `--print_config` writes such a file. `--help` shows
the settings that most runs need; they are marked with * here. `--help_all` shows all.

`scripts/make_config_docs.py` writes this page; the CTest entry `config_docs` compares it.
"""


def options(text):
    """[(section, name, default, help)] of a help text, in its order."""
    section, found = "", []
    for line in text.splitlines():
        if re.fullmatch(r"\w[\w ,()]*:", line):
            section = line[:-1]
        elif match := re.match(r"  --(\w+) (.*)", line):
            found.append([section, match[1], match[2]])
        elif found and line.startswith("   "):
            found[-1][2] += "  " + line.strip()
    for section, name, rest in found:
        # CLI11 2.1 writes INT=19, later versions INT [19].
        match = re.match(r"(\{[^}]*\}|[A-Z]+)(?:=(\S+)| \[(\S*)\])?(?:…| \.\.\.)*\s+(.*)", rest)
        if match and section != "Options":
            choices = match[1].strip("{}").replace(",", ", ") if match[1].startswith("{") else ""
            yield section, name, match[2] or match[3] or "", match[4], choices


def page(folder):
    shown = subprocess.run([folder / "sft_vlm", "--help"], capture_output=True, text=True, check=True).stdout
    common = {name for _, name, *_ in options(shown)}
    everything = subprocess.run([folder / "sft_vlm", "--help_all"], capture_output=True, text=True, check=True).stdout
    text, last = HEAD, None
    for section, name, default, meaning, choices in options(everything):
        if section != last:
            text += f"\n## {section}\n\n| setting | default | meaning |\n|---|---|---|\n"
            last = section
        values = f" (one of: {choices})" if choices else ""
        star = "*" if name in common else ""
        text += f"| `{name}`{star} | {f'`{default}`' if default else ''} | {meaning}{values} |\n"
    return text


def main():
    text = page(pathlib.Path(sys.argv[1]))
    if "--check" in sys.argv:
        if not TARGET.exists() or TARGET.read_text() != text:
            sys.exit(f"{TARGET}: expected what scripts/make_config_docs.py writes, found other text; run it again")
        print("docs/CONFIG.md says what the programs have")
    else:
        TARGET.write_text(text)


main()
