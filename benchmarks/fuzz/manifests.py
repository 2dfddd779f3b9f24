"""Artefacts and cache entries: manifests, bundles, golden vectors, explanations, and indexes; `verify`, `explain`, `report`."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.kinds import Try, command
from benchmarks.fuzz.mutations import TEXTS, bytes_changed, json_text, value_changed

_FAMILIES = ("cpu-onnxruntime", "jetson", "apple")


def prepare(corpus: Path) -> None:
    """A small artefact of each family."""
    from benchmarks import small

    small.prepare(corpus / "inputs")
    for family in _FAMILIES:
        small.build(corpus / "inputs", family, corpus / f"{family}.edgec")


def draw(random: Random, corpus: Path, place: Path) -> Try:
    """An artefact with one file spoilt, or a cache entry."""
    if random.random() < 0.1:
        return _cache(random, place)
    family = random.choice(_FAMILIES)
    artefact = Path(shutil.copytree(corpus / f"{family}.edgec", place / "made.edgec"))
    files = sorted(path for path in artefact.rglob("*") if path.is_file())
    chosen = [path for path in files if path.suffix in (".json", ".npz")]
    path = artefact / "manifest.json" if random.random() < 0.4 else random.choice([*chosen, *chosen, *files])
    what = f"{family}, {path.relative_to(artefact)}: {_spoil(random, artefact, path)}"
    if path.name != "manifest.json" and random.random() < 0.7:
        what += _relisted(artefact)
    if random.random() < 0.05:
        _litter(random, artefact)
    return Try(what, random.choice(_commands(artefact, place)))


def _commands(artefact: Path, place: Path) -> list[Any]:
    verify, explain = command("verify", artefact), command("explain", artefact)
    return [
        verify, verify, command("verify", artefact, "--json"), explain, command("explain", artefact, "--json"),
        command("explain", artefact, "--pictures", place / "pictures"), command("compare", artefact, artefact, "--anyway"),
        lambda: _for_boards(artefact),
    ]  # fmt: skip


def _for_boards(artefact: Path) -> int:
    """What `deploy` does before it connects."""
    from edgec.boards.artefact import open_for_boards

    open_for_boards(artefact)
    return 0


def _spoil(random: Random, artefact: Path, path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json" and random.random() < 0.85:
        path.write_bytes(json_text(random, value_changed(random, json.loads(data)), indent=True))
        return "values"
    if path.suffix == ".npz" and random.random() < 0.7:
        path.write_bytes(_arrays_changed(random, data))
        return "arrays"
    if random.random() < 0.05:
        path.unlink()
        path.symlink_to(random.choice(("/etc/passwd", "/dev/zero", path.name, "..", "/proc/self/environ")))
        return "a link"
    path.write_bytes(bytes_changed(random, data))
    return "bytes"


def _arrays_changed(random: Random, data: bytes) -> bytes:
    """The headers of arrays are Python literals, which say shape and type."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        entries = [(entry, source.read(entry)) for entry in source.infolist()]
    at = random.randrange(len(entries))
    with zipfile.ZipFile(file, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as target:
        for number, (entry, content) in enumerate(entries):
            if number == at:
                head = content[: 10 + int.from_bytes(content[8:10], "little")]
                body = content[len(head) :]
                content = random.choice((
                    lambda head=head, body=body: bytes_changed(random, head) + body,
                    lambda head=head, body=body: head + bytes_changed(random, body),
                    lambda body=body: _header(random) + body,
                    lambda head=head, body=body: head + b"\xff" * len(body),
                ))()  # fmt: skip
            target.writestr(random.choice((entry.filename, entry.filename, entry.filename, "other.npy")), content)
    return file.getvalue()


def _header(random: Random) -> bytes:
    shape = random.choice(("(2, 64)", f"({10**12},)", "(-1,)", "(" * 3000 + ")" * 3000, "9" * 5000, "(2**99,)", "None"))
    kind = random.choice(("'<f4'", "'|O'", "'|u1'", "'<f8'", "'V'", "[('a', '<f4')]", "'x' * 10**9", "'<U100000000'"))
    text = f"{{'descr': {kind}, 'fortran_order': {random.choice(('False', 'True', '1'))}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + min(len(text), 65535).to_bytes(2, "little") + text


def _relisted(artefact: Path) -> str:
    """Corrects hashes and sizes in the manifest, as a forger would."""
    from edgec.artefact.contents import build_manifest_files
    from edgec.errors import EdgecError

    path = artefact / "manifest.json"
    manifest = json.loads(path.read_bytes())
    try:
        listed = [file.model_dump() for file in build_manifest_files(artefact)]
    except (EdgecError, OSError):
        return ""
    by_path = {each["path"]: each for each in manifest["files"]}
    manifest["files"] = [{**by_path.get(each["path"], {}), **each} for each in listed]
    path.write_text(json.dumps(manifest))
    return ", listed again"


def _litter(random: Random, artefact: Path) -> None:
    names = [text.replace("/", "_").replace("\0", "_").encode("utf-8", "surrogatepass")[:200] for text in TEXTS]
    for _ in range(random.choice((1, 30, 3000))):
        name = random.choice(names) + str(random.randrange(10_000)).encode()
        Path(os.fsdecode(os.fsencode(artefact) + b"/" + name)).touch()


def _cache(random: Random, place: Path) -> Try:
    """An entry that was changed is made again or not used: the cache returns what the stage wrote."""
    from edgec.cache import Cache

    contents = {"small.json": b'{"a": 1}', "deep/large.bin": random.randbytes(1_200_000), "empty": b""}

    def produce(folder: Path) -> None:
        for name, data in contents.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)

    root = place / "cache"
    entry = Cache(root).stage("stage", "key", produce).parent
    paths = sorted(path for path in entry.rglob("*") if path.is_file())
    index = entry / "index.json"
    path = index if random.random() < 0.5 else random.choice(paths)
    if path == index and random.random() < 0.7:
        path.write_bytes(json_text(random, value_changed(random, json.loads(path.read_bytes()))))
    else:
        path.write_bytes(bytes_changed(random, path.read_bytes()))

    def again() -> int:
        stage = Cache(root).stage("stage", "key", produce)
        (place / "got").symlink_to(stage)
        return 0

    def wrong() -> str:
        contents_given = {
            str(each.relative_to(place / "got")): each.read_bytes() for each in (place / "got").rglob("*") if each.is_file()
        }
        return (
            "" if contents_given == contents else f"the cache gave out other bytes than the stage wrote: {sorted(contents_given)}"
        )

    return Try(f"cache, {path.name}", again, wrong)
