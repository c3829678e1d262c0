#!/usr/bin/env python3
"""Checks the rules of the house that a compiler does not see.

usage: check_layers.py [ROOT]; prints each violation, exit 1 if there is one. It checks
- layers: an #include goes down, as src/CMakeLists.txt declares (the one table);
- special headers: only the places of RESERVED include them;
- the front door: at most 50 public headers, none of which includes a private one;
- units: each source has the header of its stem, or is a part by name (`resize.h`: `resize_avx2.cpp`);
- no two units include each other;
- apps: at most 60 lines.
"""
import collections
import pathlib
import re
import sys

PUBLIC, PRIVATE, MAX_PUBLIC, MAX_APP_LINES = "include/minimind", "src", 50, 60
# header pattern -> the only places that may include it
RESERVED = {
    r"torch/csrc/distributed|gloo/": r"src/dist/",
    r"nlohmann/": r".*\.cpp$|src/base/json\.h$",
    r"stb/|stb_image|jpeglib|webp/": r"src/image/(decode|encode)",
    r"boost/": r"src/web/http_(server\.cpp|body\.h|(connection|reader|text)\.(h|cpp))",
    r"xxhash": r"src/base/content_hash\.cpp",
    r"CLI/": r"src/cli/",
    r"torch/torch\.h": r"$^",
}
# Headers without ATen, c10 or torch, even indirectly: what an embedder includes.
PLAIN = ("minimind/chat/chat.h",)


def layer_table(root):
    layers = re.findall(r"minimind_layer\((\w+)(?: DEPENDS ([\w ]+?))?(?:\s+LIBRARIES|\))",
                        (root / "src/CMakeLists.txt").read_text())
    return {name: set(depends.split()) for name, depends in layers}


def read(root):
    """path -> [(line number, included header)]"""
    files = {}
    for folder in (PUBLIC, PRIVATE, "apps"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".h", ".inl", ".cpp"):
                lines = enumerate(path.read_text().splitlines(), 1)
                found = [(n, re.match(r'\s*#\s*include\s*([<"][^>"]+)[>"]', line)) for n, line in lines]
                files[path.relative_to(root).as_posix()] = [(n, m.group(1)) for n, m in found if m]
    return files


def layer_of(path):
    parts = path.split("/")
    return parts[2] if path.startswith(PUBLIC) else "apps" if parts[0] == "apps" else parts[1]


def file_of(header, files):
    """The project file that an include names, or none."""
    name = header[1:]
    for path in ((f"include/{name}",) if name.startswith("minimind/") else (f"src/{name}",)):
        if path in files:
            return path
    return None


def layer_violations(files, table):
    for path, includes in files.items():
        layer = layer_of(path)
        if layer != "apps" and layer not in table:
            yield f"{path}: folder '{layer}' is not declared in src/CMakeLists.txt"
            continue
        for number, header in includes:
            target = file_of(header, files)
            below = layer_of(target) if target else layer
            if layer != "apps" and below != layer and below not in table[layer]:
                yield f"{path}:{number}: layer '{layer}' may include {sorted(table[layer])}, found {header[1:]}"
            for pattern, places in RESERVED.items():
                if re.match(pattern, header[1:]) and not re.match(places, path):
                    yield f"{path}:{number}: {header[1:]} belongs elsewhere (allowed: {places})"


def door_violations(files):
    public = [p for p in files if p.startswith(PUBLIC)]
    if len(public) > MAX_PUBLIC:
        yield f"{PUBLIC}: expected at most {MAX_PUBLIC} headers, found {len(public)}"
    for path in public:
        for number, header in files[path]:
            if header.startswith('"') and not header.startswith('"minimind/'):
                yield f"{path}:{number}: a public header includes the private {header[1:]}"
    for door in PLAIN:
        open_files, seen = [f"include/{door}"], set()
        while open_files:
            path = open_files.pop()
            if path in seen or path not in files:
                continue
            seen.add(path)
            for number, header in files[path]:
                if re.match(r"<(ATen|c10|torch)/", header):
                    yield f"{path}:{number}: {door} must not include {header[1:]}, even indirectly"
                open_files.append(f"include/{header[1:]}")


def unit_of(path, files):
    """The header that a source belongs to: of its own stem, or of a stem that begins its own; else none."""
    if not path.endswith(".cpp"):
        return path
    folder, _, stem = path[:-4].rpartition("/")
    public = f"{PUBLIC}/{folder.removeprefix('src/')}"
    parts = stem.split("_")
    for count in range(len(parts), 0, -1):
        name = "_".join(parts[:count])
        for header in (f"{folder}/{name}.h", f"{public}/{name}.h"):
            if header in files:
                return header
    return None


def unit_violations(files):
    edges = collections.defaultdict(dict)
    for path, includes in files.items():
        if path.startswith("apps/"):
            continue
        unit = unit_of(path, files)
        if unit is None:
            yield f"{path}: expected a header of its name, or of a stem that its name begins with, found none"
            continue
        for number, header in includes:
            target = file_of(header, files)
            if target and target != unit:
                edges[unit].setdefault(target, f"{path}:{number}")
    for unit, targets in sorted(edges.items()):
        for target in sorted(targets):
            if unit < target and unit in edges.get(target, {}):
                yield f"{targets[target]} and {edges[target][unit]}: {unit} and {target} include each other"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    files = read(root)
    found = [*layer_violations(files, layer_table(root)), *door_violations(files), *unit_violations(files)]
    for path in sorted((root / "apps").glob("*.cpp")):
        lines = len(path.read_text().splitlines())
        if lines > MAX_APP_LINES:
            found.append(f"{path.relative_to(root)}: expected at most {MAX_APP_LINES} lines, found {lines}")
    print("\n".join(found) if found else f"{len(files)} files keep the rules")
    sys.exit(1 if found else 0)


main()
