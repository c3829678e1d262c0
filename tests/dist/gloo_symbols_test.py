#!/usr/bin/env python3
"""Gloo comes from LibTorch alone, also if the system has another version of it: its headers are of that version. usage: gloo_symbols_test.py PROGRAM"""
import subprocess
import sys
import unittest

PROGRAM = sys.argv.pop(1)


def lines_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


class GlooSymbols(unittest.TestCase):
    def test_the_program_does_not_load_the_system_s_library(self):
        needed = [line for line in lines_of("readelf", "-d", PROGRAM) if "(NEEDED)" in line]
        self.assertTrue(any("libtorch_cpu" in line for line in needed), needed)
        self.assertEqual([line for line in needed if "libgloo" in line], [])

    def test_the_program_has_no_code_of_gloo_s_headers(self):
        """Code of another version, found first, would replace that of LibTorch."""
        defined = lines_of("nm", "-C", "--defined-only", PROGRAM)
        self.assertGreater(len(defined), 1000)
        self.assertEqual([line for line in defined if line.split(" ", 2)[-1].startswith("gloo::")], [])


unittest.main()
