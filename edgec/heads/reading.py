"""From `NAME=PATH` to a `Head`. Nothing in the file is run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgec.checkpoint.containers import files
from edgec.durable import sha256_of
from edgec.errors import HeadError, RequestError, UnreadableCheckpoint
from edgec.heads import weights as taking
from edgec.heads.description import checked, data_beside, from_texts, read_toml, toml_beside
from edgec.heads.types import ONNX, TWO_CLASSES, Description, Head, Output
from edgec.text import shown
from edgec.untrusted import is_file, is_folder

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LARGEST = 4 << 30
"""Bytes of a head's file. Meta's largest, of depth, has half a gigabyte."""
_RESERVED = re.compile(r"frames|cls|patches|registers|patches_\d+|switches")
"""Names of the hub graph's own inputs and outputs."""


def read_heads(arguments: Sequence[str]) -> tuple[Head, ...]:
    """The head of every `NAME=PATH`, in order. Raises `RequestError` or what `read_head` raises."""
    heads: list[Head] = []
    for name, path in _named(arguments):
        head = read_head(name, path)
        twice = [output for output in head.outputs() for other in heads if output in other.outputs()]
        if twice:
            raise RequestError(f"Two heads have an output named {twice[0]}.", remedy="give each --head a name of its own")
        heads.append(head)
    return tuple(heads)


def identify_heads(arguments: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Name and SHA-256 of every `NAME=PATH`, for cache keys: neither torch nor onnx is imported. Raises `RequestError`, or
    `HeadError` for a file that is missing."""
    return tuple((name, _digest(name, path, toml_beside(path))) for name, path in _named(arguments))


def _named(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    paths: dict[str, Path] = {}
    for text in arguments:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise RequestError(
                f"{shown(text)!r} is not NAME=PATH.",
                remedy="give --head NAME=PATH, as in --head floor=segmentation.safetensors; NAME becomes the output's name",
            )
        if name in paths:
            raise RequestError(f"Two heads are named {shown(name)}.", remedy="give each --head a name of its own")
        paths[name] = _expanded(path)
        _check_place(name, paths[name])
    return list(paths.items())


def read_head(name: str, path: Path) -> Head:
    """A head and its description. `name` becomes the name of its output.

    Raises `RequestError` for a name that an output cannot have, `HeadError` or another `CheckpointError` for a file that is
    missing, damaged, unsafe, or no head.
    """
    from edgec.heads.kinds import KINDS

    _check_place(name, path)
    toml = toml_beside(path)
    stated = read_toml(toml) if toml else {}
    digest = _digest(name, path, toml)
    if path.suffix.lower() == ".onnx":
        from edgec.heads.onnx_heads.reading import read_onnx

        return read_onnx(name, path, digest, stated, toml)
    with _naming(name):
        contents = files.load([path])
    inside = from_texts(contents.statements.get("__metadata__", {})) if path.suffix.lower() == ".safetensors" else {}
    described, where = _described(inside, stated, path, toml)
    tensors = taking.without_wrapping(contents.tensors, described.prefix if described else "")
    if described is None:
        described = taking.recognised(tensors, path)
    taken = taking.take(described, tensors, where)
    kind = KINDS[described.kind]
    output: Output = described.output or kind.gives[0]
    if output not in kind.gives:
        raise HeadError(
            f"{shown(where)} asks for an output that a {described.kind} head does not have.",
            evidence=f"output is {output}; a {described.kind} head gives {' or '.join(kind.gives)}",
        )
    _check_classes(described, kind.channels(taken), output, where)
    return Head(name, str(path), digest, described, kind.inputs(described, taken), output, taken)


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # the home directory of an unknown user
        raise HeadError(f"There is no head at {shown(path)}.", evidence=shown(error), remedy="give the head's file") from error


def _check_place(name: str, path: Path) -> None:
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        raise RequestError(
            f"A head cannot be named {shown(name)!r}.",
            evidence="its name becomes an output's: small letters, digits and _, and none of the backbone's own names",
            remedy="give --head NAME=PATH, as in --head floor=segmentation.safetensors",
        )
    if not is_file(path):
        evidence = "it is a folder" if is_folder(path) else f"looked for {shown(path.absolute())}"
        raise HeadError(f"There is no head at {shown(path)}.", evidence=evidence, remedy="give the head's file")


def _digest(name: str, path: Path, toml: Path | None) -> str:
    """SHA-256, in hex, over a head's files. A file that cannot be a head by its size and first bytes is refused, not hashed."""
    parts = [part for part in (path, toml, data_beside(path)) if part]
    try:
        with _naming(name):
            for part in parts:
                files.check_size(part, _LARGEST)
            if path.suffix.lower() != ".onnx":
                files.check([path])
        digests = [sha256_of(part) for part in parts]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest() if len(digests) > 1 else digests[0]
    except OSError as error:
        raise HeadError(f"The head {shown(path)} cannot be read.", evidence=shown(error)) from error


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Adds to errors about a file which head it is."""
    try:
        yield
    except UnreadableCheckpoint as error:
        raise UnreadableCheckpoint(
            f"The head {name} cannot be read.",
            evidence=(error.what, *error.evidence),
            remedy=error.remedy or "give a state_dict that torch.save wrote, .safetensors, or .onnx",
        ) from error


def _described(inside: dict[str, Any], stated: dict[str, Any], path: Path, toml: Path | None) -> tuple[Description | None, str]:
    """The description from the file's metadata and the TOML next to it, which wins, and what to call its source in messages; None
    if neither says anything."""
    both = {**inside, **stated}
    if not both:
        return None, str(path)
    where = str(toml or path)
    if both.get("kind") == ONNX:
        raise HeadError(f"{shown(where)} says onnx, but {shown(path.name)} is not an .onnx file.")
    return checked(both, where), where


def _check_classes(described: Description, channels: int, output: Output, where: str) -> None:
    """Raises `HeadError` if there is one class only, or if there are names and another number of classes."""
    names = len(described.classes)
    if channels == 1 and output in ("scores", "labels", "logits"):
        raise HeadError(
            f"{shown(where)} has one class, which is then always the best.",
            evidence=f"the weights have 1 output; its {output} would be judged by which class wins",
            remedy=TWO_CLASSES,
        )
    if names and output in ("scores", "labels", "logits") and names != channels:
        raise HeadError(
            f"{shown(where)} names another number of classes than the head has.",
            evidence=f"{names} names; the weights have {channels} outputs",
        )
