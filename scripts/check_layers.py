#!/usr/bin/env python3
"""Checks that every #include of ours goes down the layers, as src/CMakeLists.txt (the one table) declares, and that special headers stay where
they belong. usage: check_layers.py [ROOT]; prints each violation, exit 1 if there is one."""
import pathlib
import re
import sys

# header pattern -> the only places that may include it
RESERVED = {
    r"torch/csrc/distributed|gloo/": r"src/dist/|include/minimind/dist/",
    r"nlohmann/": r".*\.cpp$",
    r"stb/|stb_image|jpeglib|webp/": r"(src|include/minimind)/image/.*(decode|encode)",
    r"CLI/": r"src/cli/",
    r"torch/torch\.h": r"$^",
}


def layer_table(root):
    table = {}
    for name, depends in re.findall(r"minimind_layer\((\w+)(?: DEPENDS ([\w ]+?))?(?: LIBRARIES|\))", (root / "src/CMakeLists.txt").read_text()):
        table[name] = set(depends.split())
    return table


def violations(root):
    table = layer_table(root)
    for folder in ("include/minimind", "src", "apps"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".h", ".cpp"):
                continue
            relative = path.relative_to(root).as_posix()
            layer = "apps" if folder == "apps" else path.relative_to(root / folder).parts[0]
            if layer != "apps" and layer not in table:
                yield f"{relative}: folder '{layer}' is not declared in src/CMakeLists.txt"
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
                if not match:
                    continue
                header = match.group(1)
                ours = re.match(r"(?:minimind/)?(\w+)/", header) if header.startswith("minimind/") or line.find('"') >= 0 else None
                target = ours.group(1) if ours else None
                if layer != "apps" and target in table and target != layer and target not in table[layer]:
                    yield f"{relative}:{number}: layer '{layer}' may include {sorted(table[layer])}, found {header}"
                for pattern, places in RESERVED.items():
                    if re.match(pattern, header) and not re.match(places, relative):
                        yield f"{relative}:{number}: {header} belongs elsewhere (allowed: {places})"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    found = list(violations(root))
    for line in found:
        print(line)
    apps = [p for p in sorted((root / "apps").glob("*.cpp")) if len(p.read_text().splitlines()) > 60]
    for path in apps:
        print(f"{path.relative_to(root)}: expected at most 60 lines, found {len(path.read_text().splitlines())}")
    sys.exit(1 if found or apps else 0)


main()
