#!/usr/bin/env python3
"""Checks that documents and comments cite what exists.

usage: check_docs.py [ROOT]; prints each violation as FILE:LINE, exit 1 if there is one. It checks
- `NAME.md section K` in code and documents: the file and its heading `## K.`;
- file names in comments of C++ code;
- relative Markdown links, and paths in backticks that begin with a top-level folder;
- `--flag` in README, docs and scripts: some program or `--config` must know it;
- lines of Markdown outside code blocks and tables: at most 100 columns.
"""
import pathlib
import re
import subprocess
import sys
import unicodedata

COLUMNS = 100
CODE = {".h", ".cpp", ".inl"}
# Made by programs, so that a clean checkout lacks them.
MADE = ("build/", "out/", "dataset/", "model/")
# Headers of other projects that our comments name.
FOREIGN_FILES = {"jpeglib.h", "TorchConfig.cmake"}
# Flags of other programs that our documents and scripts call.
FOREIGN = set("""
    build preset test-dir output-on-failure no-tests target install prefix component parallel version help
    standalone no-python nproc_per_node nnodes node_rank rdzv-backend rdzv-endpoint rdzv_backend rdzv_endpoint
    max-restarts max_restarts master_addr master_port nodes ntasks-per-node gpus-per-task cpus-per-task gres bind-to
    find-links quiet no-deps no-compile disable-pip-version-check no-install-recommends upgrade
    stats cflags libs static exists noprofile norc fail location retry gtest_filter gtest_list_tests gtest_also_run_disabled_tests
    continue-at create-dirs show-error silent header user-agent label-regex
    exclude-standard dry-run Werror no-binary query-gpu gtest_color headless screenshot no-sandbox recurse-submodules depth get size format show-toplevel
""".split())


def columns(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def tracked(root):
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    paths = listed.stdout.split("\n") if listed.returncode == 0 else [
        p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and ".git" not in p.parts]
    return [p for p in paths if p and (root / p).is_file() and not p.startswith("build/")]


def known_flags(root, paths):
    """Names of option fields, flags of our scripts, and the flags that every program has."""
    flags = {"config", "print_config", "help", "help_all", "version"} | FOREIGN
    for path in paths:
        if path.startswith(("src/", "include/", "apps/")) and path.endswith(".cpp"):
            flags |= set(re.findall(r'\{"(\w+)",\s*&', (root / path).read_text()))
            flags |= set(re.findall(r'"--(\w+)[,"]', (root / path).read_text()))
        elif path.endswith((".py", ".sh")):
            text = (root / path).read_text()
            flags |= set(re.findall(r'add_argument\(\s*"--([\w-]+)', text))
            flags |= set(re.findall(r"--([\w-]+)\)", text))
            flags |= set(re.findall(r'"--([\w-]+)" in ', text))
    return flags


def sections(root, name, paths):
    for path in paths:
        if path == name or path == f"docs/{name}":
            return set(re.findall(r"^## (\d+)\.", (root / path).read_text(), re.M))
    return None


def cited_sections(root, paths, line):
    for name, numbers in re.findall(r"\b([A-Z][A-Z_]+\.md),? sections? ([\d, and]+)", line):
        found = sections(root, name, paths)
        if found is None:
            yield f"expected the document {name}, found none of this name"
            continue
        for number in re.findall(r"\d+", numbers):
            if number not in found:
                yield f"expected a heading '## {number}.' in {name}, found {sorted(found, key=int)}"


def cited_files(names, line):
    comment = line.partition("//")[2]
    for cited in re.findall(r"(?<![\w./<-])((?:\w+/)*\w+\.(?:h|cpp|inl|md|py|sh|cmake))\b", comment):
        if cited not in FOREIGN_FILES and not any(path == cited or path.endswith("/" + cited) for path in names):
            yield f"expected a file {cited}, found none of this name"


def exists(root, cited):
    """A path, or a unit `LAYER/NAME` without its ending."""
    folders = (root, root / "src", root / "include/minimind")
    return any((f / cited).exists() or list(f.glob(f"{cited}.*")) for f in folders)


def cited_paths(root, path, tops, line):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
        if not re.match(r"[a-z]+:", target) and not (root / path).parent.joinpath(target).exists():
            yield f"expected the link's target {target}, found no such file"
    for cited in re.findall(r"`([\w.-]+/[\w./-]*)`", line):
        is_pattern = re.search(r"LAYER|(?<![A-Z])X(?![A-Z])", cited)
        if not is_pattern and cited.split("/")[0] in tops and not cited.startswith(MADE) and not exists(root, cited):
            yield f"expected the path {cited}, found no such file"


def cited_flags(flags, line):
    for flag in re.findall(r"(?<![\w-])--([a-z][\w-]*)", line):
        if flag not in flags:
            yield f"expected a flag of a program, found --{flag}, which no program has"


def violations(root):
    paths = tracked(root)
    flags = known_flags(root, paths)
    tops = {p.split("/")[0] for p in paths if "/" in p}
    for path in paths:
        suffix = pathlib.Path(path).suffix
        if suffix not in CODE | {".md", ".sh"}:
            continue
        is_code_block = False
        for number, line in enumerate((root / path).read_text().splitlines(), 1):
            problems = list(cited_sections(root, paths, line))
            if suffix in CODE:
                problems += cited_files(paths, line)
            if suffix == ".md":
                is_code_block ^= line.lstrip().startswith("```")
                problems += cited_paths(root, path, tops, line)
                is_free = is_code_block or line.lstrip().startswith(("|", "```", "!["))
                if not is_free and columns(line) > COLUMNS and " " in line.strip():
                    problems.append(f"expected at most {COLUMNS} columns, found {columns(line)}")
            if suffix == ".md" and path != "CHANGELOG.md" or path.startswith("scripts/"):
                problems += cited_flags(flags, line)
            for problem in problems:
                yield f"{path}:{number}: {problem}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    found = list(violations(root))
    print("\n".join(found) if found else "documents and comments cite what exists")
    sys.exit(1 if found else 0)


main()
