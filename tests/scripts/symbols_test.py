#!/usr/bin/env python3
"""No two shared libraries of a program share a variable that one of them writes. Environment: MINIMIND_BIN names the folder with the programs."""
import collections
import os
import pathlib
import re
import subprocess
import unittest

BIN = pathlib.Path(os.environ["MINIMIND_BIN"])
# Why a shared variable is harmless: the library whose variable both use, which must be the largest.
KNOWN = {"FLAGS_minloglevel": "libsentencepiece.so"}


def libraries(program):
    """The libraries of a program in the order in which symbols are looked up."""
    lines = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.splitlines()
    return [pathlib.Path(match[1]) for match in (re.search(r"=> (/\S+) \(", line) for line in lines) if match]


def variables(library):
    """Size by name of the variables that a library exports. Weak and unique ones are meant to be shared."""
    found = {}
    for line in subprocess.run(["nm", "-D", "-S", "--defined-only", library], capture_output=True, text=True).stdout.splitlines():
        match = re.match(r"\S+ (\S+) ([BDGS]) ([^@\s]+)", line)
        if match:
            found[match[3]] = int(match[1], 16)
    return found


def collisions(exports):
    """`exports`: (library, its variables) in the order of look-up. Yields name, [(library, size), …] of variables with several owners."""
    owners = collections.defaultdict(list)
    for library, found in exports:
        for name, size in found.items():
            owners[name].append((library, size))
    return {name: found for name, found in owners.items() if len(found) > 1}


def problems(exports):
    """The collisions that are not known to be harmless."""
    for name, owners in collisions(exports).items():
        first, size = owners[0]
        is_known = first.name.startswith(KNOWN.get(name, "/")) and size == max(other for _, other in owners)
        is_of_one_maker = len({library.parent for library, _ in owners}) == 1 and "torch" in str(first.parent)
        if not is_known and not is_of_one_maker:
            yield f"{name}: {', '.join(f'{library} ({size} bytes)' for library, size in owners)}"


class Symbols(unittest.TestCase):
    def test_no_program_has_a_variable_with_two_owners(self):
        exports = {}
        for program in sorted(path for path in BIN.iterdir() if path.is_file() and os.access(path, os.X_OK)):
            with self.subTest(program.name):
                needed = libraries(program)
                for library in needed:
                    if library not in exports:
                        exports[library] = variables(library)
                self.assertEqual(list(problems((library, exports[library]) for library in needed)), [])

    def test_the_loader_gives_both_libraries_the_larger_variable(self):
        program = BIN / "eval_chat"
        told = subprocess.run([program, "--version"], capture_output=True, text=True, env={**os.environ, "LD_DEBUG": "bindings", "LD_BIND_NOW": "1"}).stderr
        bound = set(re.findall(r"binding file \S+ \[\d+\] to (\S+) \[\d+\]: \S+ symbol .FLAGS_minloglevel'", told))
        self.assertEqual({pathlib.Path(path).name for path in bound}, {"libsentencepiece.so.0"})

    def test_collisions_are_found(self):
        small, large = pathlib.Path("/a/libc10.so"), pathlib.Path("/b/libsentencepiece.so.0")
        self.assertEqual(len(list(problems([(small, {"FLAGS_minloglevel": 4}), (large, {"FLAGS_minloglevel": 32})]))), 1)
        self.assertEqual(list(problems([(large, {"FLAGS_minloglevel": 32}), (small, {"FLAGS_minloglevel": 4})])), [])
        self.assertEqual(len(list(problems([(large, {"x": 8}), (small, {"x": 8})]))), 1)


if __name__ == "__main__":
    unittest.main()
