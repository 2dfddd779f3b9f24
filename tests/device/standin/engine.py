"""Engines and timing caches. An engine begins as a real one does (sampleEngines.cpp, printPlanVersion), then says what it is; the
graph itself follows."""

from __future__ import annotations

import struct

TAG = b"ftrt"
HEAD = struct.Struct("<4sI16x4B")
MARK = b"edgec stand-in engine\n"
CACHE = b"edgec stand-in timing cache\n"


class Engine:
    """`stem` is that of the ONNX file's name."""

    def __init__(self, version: tuple[int, ...], compute: str, stem: str, onnx: bytes) -> None:
        self.version, self.compute, self.stem, self.onnx = version, compute, stem, onnx


class Refused(Exception):
    """What trtexec prints when an engine does not fit."""


def pack(engine: Engine) -> bytes:
    facts = f"{dotted(engine.version)} {engine.compute} {engine.stem}"
    return HEAD.pack(TAG, 0, *engine.version, 42) + MARK + facts.encode() + b"\n" + engine.onnx


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def unpack(content: bytes, version: tuple[int, ...], compute: str) -> Engine:
    """Raises `Refused` for what the real one refuses, in its words."""
    if content[:4] != TAG or content[HEAD.size : HEAD.size + len(MARK)] != MARK:
        raise Refused("Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match")
    line, _, onnx = content[HEAD.size + len(MARK) :].partition(b"\n")
    its_version, its_compute, stem = line.decode().split(" ", 2)
    if its_version != dotted(version):
        raise Refused(
            f"The engine plan file is not compatible with this version of TensorRT, expecting library version "
            f"{dotted(version)} got {its_version}, please rebuild."
        )
    if its_compute != compute:
        raise Refused(
            f"The engine plan file is generated on an incompatible device, expecting compute {compute} got compute "
            f"{its_compute}, please rebuild."
        )
    return Engine(version, compute, stem, onnx)


def read_cache(path: str, version: tuple[int, ...]) -> set[str] | None:
    """Layers whose timings are known; None for a cache that is damaged or another version's."""
    with open(path, "rb") as file:
        content = file.read()
    if not content.startswith(CACHE):
        return None
    its_version, *layers = content[len(CACHE) :].decode(errors="replace").splitlines()
    return set(layers) if its_version == dotted(version) else None


def write_cache(path: str, version: tuple[int, ...], layers: set[str]) -> int:
    content = CACHE + "\n".join([dotted(version), *sorted(layers)]).encode()
    with open(path, "wb") as file:
        return file.write(content)
