#!/usr/bin/env python3
"""Each CTest entry hides the NVIDIA cards from its programs, unless it is labelled gpu. usage: cards_test.py BUILD_FOLDER"""
import json
import subprocess
import sys
import unittest

BUILD = sys.argv.pop(1)


def properties(test):
    return {entry["name"]: entry["value"] for entry in test["properties"]}


class Cards(unittest.TestCase):
    def setUp(self):
        listed = subprocess.run(["ctest", "--test-dir", BUILD, "--show-only=json-v1"], capture_output=True, text=True, check=True)
        self.tests = json.loads(listed.stdout)["tests"]

    def with_label(self, wanted):
        return [test for test in self.tests if ("gpu" in properties(test).get("LABELS", [])) == wanted]

    def test_are_hidden_from_all_tests_but_those_of_the_gpu(self):
        plain = self.with_label(False)
        self.assertGreater(len(plain), 50)
        self.assertEqual([test["name"] for test in plain if "CUDA_VISIBLE_DEVICES=" not in properties(test).get("ENVIRONMENT", [])], [])

    def test_are_visible_to_the_tests_of_the_gpu(self):
        gpu = self.with_label(True)
        self.assertGreater(len(gpu), 0)
        hidden = [test["name"] for test in gpu if any(entry.startswith("CUDA_VISIBLE_DEVICES") for entry in properties(test).get("ENVIRONMENT", []))]
        self.assertEqual(hidden, [])


unittest.main()
