"""Compares the decoder and the resize with Pillow, byte for byte, on generated images of every kind.

usage: pillow_differential.py --python PYTHON --dump DUMP_IMAGES [--count N]
Runs itself under MINIMIND_PYTHON, or else PYTHON. Exits 77 (skipped) where that has no Pillow.
"""

import argparse
import collections
import io
import os
import pathlib
import random
import subprocess
import sys
import tempfile

FAMILIES = ("jpeg", "png", "bmp", "gif", "webp")
SIDE = 224


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", required=True)
    parser.add_argument("--dump", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def under_python_with_pillow(default):
    """Starts this script again under the interpreter that has Pillow."""
    wanted = os.environ.get("MINIMIND_PYTHON", default)
    if os.environ.get("MINIMIND_DIFFERENTIAL_CHILD"):
        return
    if not os.path.exists(wanted):
        if "MINIMIND_PYTHON" in os.environ:
            sys.exit(f"error: MINIMIND_PYTHON={wanted}: no such file")
        skip(f"no Python at {wanted}; set MINIMIND_PYTHON")
    os.execve(wanted, [wanted] + sys.argv, dict(os.environ, MINIMIND_DIFFERENTIAL_CHILD="1"))


def skip(reason):
    print(f"SKIPPED: the comparison with Pillow did not run: {reason}", flush=True)
    sys.exit(77)


def chosen_kinds(kinds, count):
    """The families in turn, and in each family its kinds in turn."""
    by_family = {family: [kind for kind in kinds if kind.startswith(family + "_") or kind == family] for family in FAMILIES}
    assert sum(map(len, by_family.values())) == len(kinds)
    every = list(kinds)
    rest = [by_family[FAMILIES[i % len(FAMILIES)]] for i in range(count)]
    turns = collections.Counter()
    for i in range(count):
        if i < len(every):
            yield every[i]
            continue
        family = FAMILIES[i % len(FAMILIES)]
        yield rest[i][turns[family] % len(rest[i])]
        turns[family] += 1


def planar(image):
    return b"".join(channel.tobytes() for channel in image.split())


def difference(ours, theirs):
    if len(ours) != len(theirs):
        return f"{len(ours)} bytes against {len(theirs)}"
    gaps = [abs(a - b) for a, b in zip(ours, theirs)]
    return f"{sum(gap > 0 for gap in gaps)} of {len(gaps)} bytes differ, at most by {max(gaps)}"


def resized(image, size):
    """Pillow's resize. Before version 13 it never took the vertical pass first: there, one axis at a time in today's order."""
    import PIL
    from PIL import Image

    if int(PIL.__version__.split(".")[0]) >= 13:
        return image.resize(size, Image.BICUBIC)
    width, height = size
    vertical_first = height < image.height and image.height - height > 2 * (image.width - width)
    middle = (image.width, height) if vertical_first else (width, image.height)
    return image.resize(middle, Image.BICUBIC).resize(size, Image.BICUBIC)


def compare(path, size, shape):
    """What differs, as lines of text."""
    from PIL import Image

    image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    if (image.width, image.height) != shape:
        return [f"size {shape} against {image.size}"]
    expected = {
        "rgb": image.tobytes(),
        "resized": resized(image, size).tobytes(),
        "planar": planar(resized(image, (SIDE, SIDE))),
    }
    failures = []
    for part, theirs in expected.items():
        ours = pathlib.Path(f"{path}.{part}").read_bytes()
        if ours != theirs:
            failures.append(f"{part}: {difference(ours, theirs)}")
    return failures


def main():
    options = arguments()
    under_python_with_pillow(options.python)
    try:
        import PIL
    except ImportError:
        skip(f"{sys.executable} has no Pillow")
    import make_images

    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="minimind_pictures_") as folder:
        cases = []
        for i, kind in enumerate(chosen_kinds(make_images.KINDS, options.count)):
            path = pathlib.Path(folder) / f"{i:05d}_{kind}"
            path.write_bytes(make_images.image_of(kind, f"{options.seed}/{i}"))
            cases.append((kind, path, (make_images.random_side(rng), make_images.random_side(rng))))
        listing = pathlib.Path(folder) / "list.txt"
        listing.write_text("".join(f"{path} {width} {height}\n" for _, path, (width, height) in cases))
        dumped = subprocess.run([options.dump, str(listing)], check=True, stdout=subprocess.PIPE, text=True).stdout
        shapes, failures, passed = {}, collections.defaultdict(list), collections.Counter()
        for line in dumped.splitlines():
            state, rest = line.split(" ", 1)
            if state == "ok":
                width, height, name = rest.split(" ", 2)
                shapes[name] = (int(width), int(height))
            else:
                name, reason = rest.split(" ", 1)
                shapes[name] = reason
        for kind, path, size in cases:
            shape = shapes.get(str(path), "no answer")
            problems = [shape] if isinstance(shape, str) else compare(path, size, shape)
            for problem in problems:
                failures[kind].append(f"{path.name}: {problem}")
            passed[kind] += not problems
    report(PIL.__version__, len(cases), passed, failures)
    sys.exit(1 if failures else 0)


def report(version, total, passed, failures):
    for kind, problems in failures.items():
        print(f"{kind}: {len(problems)} differences")
        for problem in problems[:4]:
            print(f"  {problem}")
    print(f"pillow {version}: {sum(passed.values())} of {total} images of {len(passed)} kinds equal byte for byte")


if __name__ == "__main__":
    main()
