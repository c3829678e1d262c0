#!/usr/bin/env python3
"""Downloads weights, tokenizer and data sets from the Hugging Face hub into the folders that the programs read by default. HF_ENDPOINT names a
mirror. Interrupted downloads resume. Sizes and sha256 are checked if the hub gives them. Needs Python's standard library alone."""
import argparse
import fnmatch
import hashlib
import http.client
import json
import os
import pathlib
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# For each name: repository, patterns of the files, target folder, description. Of a tuple, the first pattern that matches counts. A file keeps its
# name in the folder, wherever it lies in the repository; `into` names subfolders for patterns.
GROUPS = {
    "clip": dict(repo="openai/clip-vit-base-patch32", folder="model/clip_model/clip-vit-base-patch32",
                 files=["config.json", "preprocessor_config.json", ("model.safetensors", "pytorch_model.bin")],
                 what="the frozen vision encoder CLIP ViT-B/32"),
    "tokenizer": dict(repo="jingyaogong/minimind-v-v1", folder="model/minimind_tokenizer",
                      files=["tokenizer.json", "tokenizer_config.json"], what="the released tokenizer"),
    "llm": dict(repo="datasets/jingyaogong/minimind-v_dataset", folder="out",
                files=["*512_llm.pth", "*768_llm.pth"], what="MiniMind language weights, where pretraining starts"),
    "model-small": dict(repo="jingyaogong/minimind-v-v1-small", folder="minimind-v-v1-small",
                        files=["config.json", ("model.safetensors", "pytorch_model.bin"), "tokenizer.json", "tokenizer_config.json"],
                        what="the released 27 M model, after instruction tuning"),
    "model": dict(repo="jingyaogong/minimind-v-v1", folder="minimind-v-v1",
                  files=["config.json", ("model.safetensors", "pytorch_model.bin"), "tokenizer.json", "tokenizer_config.json"],
                  what="the released 109 M model, after instruction tuning"),
    "pretrain-data": dict(repo="datasets/jingyaogong/minimind-v_dataset", folder="dataset",
                          files=["*chat-translated.json", "*pretrain_images*.zip"], into={"*chat-translated.json": "LLaVA-Pretrain"},
                          what="595 K captioned images"),
    "sft-data": dict(repo="datasets/jingyaogong/minimind-v_dataset", folder="dataset",
                     files=["*llava_instruct_230k.json", "*sft_images*.zip"], into={"*llava_instruct_230k.json": "LLaVA-Instruct"},
                     what="230 K questions and answers"),
    "multi-data": dict(repo="datasets/xinyanghuang/minimind-v_multi_image", folder="dataset",
                       files=["*output.json", "*sft_multi_images*.zip"], into={"*output.json": "sft_multi_images"},
                       what="image pairs and their differences"),
}
BLOCK = 1 << 20
TIMEOUT = 30


class DownloadError(Exception):
    """An error that the user can mend; the message says how."""


class File:
    """One file of a repository, as the hub lists it."""

    def __init__(self, repo, path, size, sha256, target):
        self.repo, self.path, self.size, self.sha256, self.target = repo, path, size, sha256, target

    def url(self):
        return f"{endpoint()}/{self.repo}/resolve/main/{urllib.parse.quote(self.path)}"


def endpoint():
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def open_url(url, headers=None):
    request = urllib.request.Request(url, headers={"User-Agent": "minimind-v-download", **(headers or {})})
    token = os.environ.get("HF_TOKEN")
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def explain(error, url):
    if isinstance(error, urllib.error.HTTPError):
        cure = {401: "set HF_TOKEN", 403: "set HF_TOKEN", 404: "the repository or file is not there"}.get(error.code, "try again later")
        return DownloadError(f"{url}: expected the file, found HTTP {error.code} {error.reason}; {cure}")
    reason = getattr(error, "reason", error)
    return DownloadError(f"{url}: cannot be reached: {reason}; check the network, or name a mirror in HF_ENDPOINT")


def list_repository(repo):
    """(path, size, sha256 or None) of every file."""
    kind, name = ("datasets", repo.removeprefix("datasets/")) if repo.startswith("datasets/") else ("models", repo)
    url = f"{endpoint()}/api/{kind}/{name}/tree/main?recursive=true"
    files = []
    while url:
        try:
            with open_url(url) as answer:
                entries = json.load(answer)
                link = answer.headers.get("Link", "")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise explain(error, url) from error
        try:
            for entry in entries:
                if entry["type"] == "file":
                    lfs = entry.get("lfs") or {}
                    files.append((str(entry["path"]), lfs.get("size", entry.get("size")), lfs.get("oid")))
        except (AttributeError, KeyError, TypeError) as error:
            raise DownloadError(f"{url}: expected a list of files, found something else; is HF_ENDPOINT a mirror of the hub?") from error
        url = link.split(";")[0].strip(" <>") if 'rel="next"' in link else None
    return files


def wanted_files(name, root):
    group = GROUPS[name]
    listed = list_repository(group["repo"])
    chosen = []
    for pattern in group["files"]:
        alternatives = pattern if isinstance(pattern, tuple) else (pattern,)
        for alternative in alternatives:
            found = [entry for entry in listed if fnmatch.fnmatch(entry[0], alternative)]
            if found:
                break
        if not found:
            raise DownloadError(f"{group['repo']}: expected {' or '.join(alternatives)}, found none among {len(listed)} files")
        chosen += found
    return [File(group["repo"], path, size, sha, place_of(group, root, path)) for path, size, sha in chosen]


def place_of(group, root, path):
    """The place of a listed file. Only its name counts: a listing must not choose the folder."""
    name = pathlib.PurePosixPath(path).name
    if name in ("", "..") or "\\" in name or "\0" in name:
        raise DownloadError(f"{group['repo']}: expected a file name, found {path!r}")
    inner = next((folder for pattern, folder in group.get("into", {}).items() if fnmatch.fnmatch(path, pattern)), "")
    return root / group["folder"] / inner / name


def human(size):
    if size is None:
        return "unknown size"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000


class ProgressLine:
    """Shows bytes, rate and time left: in one line of a terminal, elsewhere as a line every ten seconds."""

    def __init__(self, what, total, done):
        self.what, self.total, self.first, self.start, self.shown = what, total, done, time.monotonic(), 0.0
        self.interval = 0.2 if sys.stderr.isatty() else 10.0

    def update(self, done):
        now = time.monotonic()
        if now - self.shown < self.interval or now - self.start < 1.0:
            return
        self.shown = now
        rate = (done - self.first) / (now - self.start)
        left = f", {(self.total - done) / rate:.0f} s left" if self.total and rate > 0 else ""
        text = f"{self.what}: {human(done)} of {human(self.total)}, {human(rate)}/s{left}"
        print(f"\r{text}\033[K" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    def finish(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def receive(file, part):
    """Appends the missing bytes to `part`."""
    done = part.stat().st_size if part.exists() else 0
    if file.size is not None and done >= file.size:
        return
    headers = {"Range": f"bytes={done}-"} if done else {}
    try:
        with open_url(file.url(), headers) as answer:
            if done and answer.status != 206:
                done = 0  # a server that knows no ranges starts from the front
            progress = ProgressLine(file.target.name, file.size, done)
            with open(part, "ab" if done else "wb") as out:
                while block := answer.read(BLOCK):
                    out.write(block)
                    done += len(block)
                    progress.update(done)
            progress.finish()
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise explain(error, file.url()) from error


def check(file, path):
    found = path.stat().st_size
    if file.size is not None and found != file.size:
        if found > file.size:
            path.unlink()
        raise DownloadError(f"{file.target}: expected {file.size} bytes, found {found}; run the command again to go on")
    if file.sha256 and sha256_of(path) != file.sha256:
        path.unlink()
        raise DownloadError(f"{file.target}: expected sha256 {file.sha256}, found another; the download was damaged and removed, run the command again")


def fetch(file):
    if file.target.exists() and (file.size is None or file.target.stat().st_size == file.size):
        print(f"have   {file.target}")
        return
    file.target.parent.mkdir(parents=True, exist_ok=True)
    part = file.target.with_name(file.target.name + ".part")
    receive(file, part)
    check(file, part)
    os.replace(part, file.target)
    print(f"got    {file.target} ({human(file.size)}{', sha256 checked' if file.sha256 else ''})")


def run(names, root, dry_run):
    total = 0
    for name in names:
        for file in wanted_files(name, root):
            total += file.size or 0
            if dry_run:
                have = file.target.exists() and file.target.stat().st_size == file.size
                print(f"{'have' if have else 'would get'}  {file.target}  {human(file.size)}  from {file.repo}/{file.path}")
            else:
                fetch(file)
    print(f"{'in all' if dry_run else 'done'}: {human(total)}")


def main():
    listing = "\n".join(f"  {name:14} {group['what']} → {group['folder']}/" for name, group in GROUPS.items())
    parser = argparse.ArgumentParser(prog="download.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog=f"names:\n{listing}\n  all            everything above")
    parser.add_argument("names", nargs="+", metavar="NAME", help="what to download (see below)")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("."), help="folder that holds out, model and dataset (default: the current folder)")
    parser.add_argument("--dry_run", action="store_true", help="list the files and their sizes, download nothing")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in GROUPS and name != "all"]
    if unknown:
        parser.error(f"unknown name {unknown[0]}; known: {', '.join(GROUPS)}, all")
    names = list(GROUPS) if "all" in arguments.names else arguments.names
    try:
        run(names, arguments.root, arguments.dry_run)
    except (DownloadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to continue", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
