#!/usr/bin/env python3
"""The checks of scripts/ find what they are made for: each is run on a small tree that breaks one rule."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
LAYERS = "minimind_layer(base LIBRARIES x)\nminimind_layer(model DEPENDS base LIBRARIES x)\n"


class Tree(unittest.TestCase):
    def run_check(self, name, files):
        """The output of a check on a tree of these files; a tree that breaks a rule gives exit code 1."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, text in {"src/CMakeLists.txt": LAYERS, **files}.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            done = subprocess.run([sys.executable, SCRIPTS / name, root], capture_output=True, text=True)
            self.assertIn(done.returncode, (0, 1), done.stderr)
            self.assertEqual(done.stderr, "")
            return done.returncode, done.stdout

    def finds(self, name, files, text):
        code, output = self.run_check(name, files)
        self.assertEqual(code, 1, output)
        self.assertIn(text, output)


class Layers(Tree):
    def layers(self, files, text):
        self.finds("check_layers.py", files, text)

    def test_a_clean_tree_passes(self):
        files = {"include/minimind/base/a.h": "", "src/base/a.cpp": '#include "minimind/base/a.h"\n',
                 "src/base/a_part.cpp": '#include "minimind/base/a.h"\n',
                 "src/model/b.h": '#include "minimind/base/a.h"\n', "src/model/b.cpp": '#include "model/b.h"\n'}
        self.assertEqual(self.run_check("check_layers.py", files)[0], 0)

    def test_an_include_that_goes_up(self):
        self.layers({"src/model/b.h": "", "src/base/a.h": '#include "model/b.h"\n'}, "src/base/a.h:1: layer 'base' may")

    def test_a_folder_that_is_no_layer(self):
        self.layers({"src/other/a.h": ""}, "folder 'other' is not declared")

    def test_a_header_in_a_wrong_place(self):
        self.layers({"src/base/a.h": "#include <nlohmann/json.hpp>\n"}, "belongs elsewhere")

    def test_a_public_header_that_includes_a_private_one(self):
        self.layers({"include/minimind/model/b.h": '#include "base/a.h"\n', "src/base/a.h": ""}, "includes the private base/a.h")

    def test_more_than_fifty_public_headers(self):
        self.layers({f"include/minimind/base/h{i}.h": "" for i in range(51)}, "expected at most 50 headers, found 51")

    def test_a_tensor_header_behind_the_embedders_door(self):
        self.layers({"include/minimind/chat/chat.h": '#include "minimind/base/a.h"\n',
                     "include/minimind/base/a.h": "#include <ATen/ATen.h>\n"}, "must not include ATen/ATen.h, even indirectly")

    def test_a_source_without_a_header(self):
        self.layers({"src/base/lonely.cpp": ""}, "expected a header of its name")

    def test_units_that_include_each_other(self):
        self.layers({"src/base/a.h": '#include "base/b.h"\n', "src/base/b.h": "", "src/base/b_part.cpp": '#include "base/a.h"\n'},
                    "include each other")

    def test_an_app_of_more_than_sixty_lines(self):
        self.layers({"apps/long.cpp": "\n" * 61}, "expected at most 60 lines, found 61")


class Docs(Tree):
    def docs(self, files, text):
        self.finds("check_docs.py", files, text)

    def test_a_clean_tree_passes(self):
        files = {"docs/SPEC.md": "# Spec\n\n## 1. Model\n\nSee [readme](../README.md) and `docs/SPEC.md`.\n", "README.md": "`--dim`\n",
                 "src/base/a.cpp": '// SPEC.md section 1; see a.cpp\n{"dim", &dim}\n'}
        self.assertEqual(self.run_check("check_docs.py", files), (0, "documents and comments cite what exists\n"))

    def test_a_cited_document_that_does_not_exist(self):
        self.docs({"src/base/a.h": "// SPEC.md section 1\n"}, "src/base/a.h:1: expected the document SPEC.md")

    def test_a_cited_section_that_does_not_exist(self):
        self.docs({"docs/SPEC.md": "## 1. Model\n", "src/base/a.h": "// SPEC.md sections 1 and 9\n"}, "expected a heading '## 9.'")

    def test_a_cited_source_that_does_not_exist(self):
        self.docs({"src/base/a.h": "// as gone.cpp does\n"}, "expected a file gone.cpp")

    def test_a_dead_link(self):
        self.docs({"README.md": "[x](docs/none.md)\n"}, "expected the link's target docs/none.md")

    def test_a_path_that_does_not_exist(self):
        self.docs({"README.md": "`src/base/none.h`\n"}, "expected the path src/base/none.h")

    def test_a_flag_that_no_program_has(self):
        self.docs({"README.md": "`--no_such_flag`\n"}, "found --no_such_flag")

    def test_a_line_that_is_too_long(self):
        self.docs({"README.md": "word " * 21 + "\n"}, "expected at most 100 columns")


unittest.main(verbosity=2)
