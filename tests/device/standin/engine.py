"""Engines and timing caches. An engine begins as a real one does (sampleEngines.cpp, printPlanVersion), then says what it is; the
graph itself follows."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

TAG = b"ftrt"
HEAD = struct.Struct("<4sI16x4B")
MARK = b"edgec stand-in engine\n"
CACHE = b"edgec stand-in timing cache\n"


@dataclass(frozen=True)
class Engine:
    """`stem` is that of the ONNX file's name."""

    version: tuple[int, ...]
    compute: str
    stem: str
    onnx: bytes


class Refused(Exception):
    """What trtexec prints when an engine does not fit."""


def pack(engine: Engine) -> bytes:
    facts = {"version": list(engine.version), "compute": engine.compute, "stem": engine.stem}
    return HEAD.pack(TAG, 0, *engine.version, 42) + MARK + json.dumps(facts).encode() + b"\n" + engine.onnx


def unpack(content: bytes, version: tuple[int, ...], compute: str) -> Engine:
    """Raises `Refused` for what the real one refuses, in its words."""
    if content[:4] != TAG or content[HEAD.size : HEAD.size + len(MARK)] != MARK:
        raise Refused("Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match")
    line, _, onnx = content[HEAD.size + len(MARK) :].partition(b"\n")
    facts = json.loads(line)
    if tuple(facts["version"]) != version:
        expected, got = (".".join(map(str, each)) for each in (version, facts["version"]))
        raise Refused(
            f"The engine plan file is not compatible with this version of TensorRT, expecting library version {expected} got "
            f"{got}, please rebuild."
        )
    if facts["compute"] != compute:
        raise Refused(
            f"The engine plan file is generated on an incompatible device, expecting compute {compute} got compute "
            f"{facts['compute']}, please rebuild."
        )
    return Engine(version, compute, facts["stem"], onnx)


def read_cache(path: Path, version: tuple[int, ...]) -> set[str] | None:
    """Layers whose timings are known; None for a cache that is damaged or another version's."""
    head, _, rest = path.read_bytes().partition(b"\n")
    if head + b"\n" != CACHE:
        return None
    try:
        facts = json.loads(rest)
    except ValueError:
        return None
    return set(facts["layers"]) if tuple(facts["version"]) == version else None


def write_cache(path: Path, version: tuple[int, ...], layers: set[str]) -> int:
    content = CACHE + json.dumps({"version": list(version), "layers": sorted(layers)}).encode()
    path.write_bytes(content)
    return len(content)
