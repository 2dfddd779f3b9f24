"""From bytes to named tensors. The bytes are hostile: what they are is told from their beginning, and nothing in them is run.

Torch's files are opened with `weights_only=True`; both formats are mapped into memory where that is possible, so that a
checkpoint is in memory once, as the copy that `edgec.checkpoint.weights` makes.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec.checkpoint.pickles import foreign_global
from edgec.checkpoint.text import counted, shown
from edgec.errors import UnreadableCheckpoint, UnsafeCheckpoint

if TYPE_CHECKING:
    from torch import Tensor

_DEPTH = 6
_PLAIN_DEPTH = 12
_BLAMED = re.compile(r"GLOBAL (\S+)")
_AGAIN = "download or copy it again, and compare its SHA-256 with the publisher's"


@dataclass(frozen=True)
class Contents:
    """What the files of one checkpoint hold.

    `tensors` by name; a training checkpoint's nesting becomes dots: `teacher.backbone.…`. `statements` is everything else that is
    said in the container, as a plain tree of dict, list, str, int (64 bits), float, bool and None, bounded in depth and number:
    `args`, `config`, `hyper_parameters` of a training file, the texts of safetensors under `__metadata__`.
    """

    tensors: dict[str, Tensor]
    statements: Mapping[str, Any] = field(default_factory=dict)
    unnamed: tuple[str, ...] = ()
    """Places of lists that hold tensors: `ema.shadow_params`."""


def load(paths: Sequence[Path]) -> Contents:
    """All that is in the files of one checkpoint. Raises `UnreadableCheckpoint` or `UnsafeCheckpoint`."""
    tensors: dict[str, Tensor] = {}
    statements: dict[str, Any] = {}
    unnamed: tuple[str, ...] = ()
    for path in paths:
        part = _load_safetensors(path) if _is_safetensors(path) else _load_torch(path)
        twice = tensors.keys() & part.tensors.keys()
        if twice:
            raise UnreadableCheckpoint(f"{shown(path)} repeats a tensor of another shard.", evidence=shown(min(twice)))
        tensors |= part.tensors
        statements |= part.statements
        unnamed += part.unnamed
    if not tensors:
        raise UnreadableCheckpoint(f"{shown(paths[0])} holds no tensors.")
    return Contents(tensors, statements, unnamed)


def _is_safetensors(path: Path) -> bool:
    """Tells safetensors from torch's formats by the first bytes, and names what is neither."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UnreadableCheckpoint(f"{shown(path)} cannot be read.", evidence=shown(error)) from error
    if size == 0:
        raise UnreadableCheckpoint(f"{shown(path)} is empty (0 bytes).", remedy=_AGAIN)
    if head.startswith(b"version https://git-lfs"):
        raise UnreadableCheckpoint(
            f"{shown(path)} is a Git LFS pointer, not the weights.",
            evidence=f"{counted(size, 'byte')} of text",
            remedy="run `git lfs pull` in the repository that it came from",
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UnreadableCheckpoint(
            f"{shown(path)} is a web page, not the weights.",
            evidence=f"begins with {shown(head[:40].decode('utf-8', 'replace'))}",
            remedy="download it again, signed in where the site asks for it",
        )
    if head[257:262] == b"ustar":
        raise UnreadableCheckpoint(
            f"{shown(path)} is in the tar format of PyTorch before 1.0, which cannot be read without running its pickles.",
            remedy="load it where you trust it and save the state_dict with torch.save, or as safetensors",
        )
    # A safetensors file begins with its header's length, whose first byte may well be the one that pickles begin with.
    header = head[8:9] == b"{"
    if header and int.from_bytes(head[:8], "little") <= size - 8:
        return True
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return False
    if header:
        return True
    text = head.decode("utf-8", "replace")
    if all(character.isprintable() or character.isspace() for character in text):
        raise UnreadableCheckpoint(f"{shown(path)} is a text file, not a checkpoint.", evidence=f"begins with {shown(text, 60)}")
    raise UnreadableCheckpoint(
        f"{shown(path)} is in no format of weights that edgec knows.",
        evidence=f"begins with the bytes {head[:8].hex(' ')}, of {counted(size, 'byte')}",
        remedy="give a file written by torch.save or a .safetensors file",
    )


def _load_safetensors(path: Path) -> Contents:
    from safetensors import safe_open

    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > size - 8:
        raise UnreadableCheckpoint(
            f"{shown(path)} is truncated or damaged: its header does not fit into it.",
            evidence=f"the header claims {header:,} bytes, the file has {counted(size, 'byte')}",
            remedy=_AGAIN,
        )
    # Whatever the library says of bytes that are not safetensors, it says it of bytes from outside.
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping: it has no __iter__)
            return Contents(tensors, {"__metadata__": dict(opened.metadata() or {})})
    except Exception as error:
        raise UnreadableCheckpoint(
            f"{shown(path)} is truncated or damaged safetensors.", evidence=_first_line(error), remedy=_AGAIN
        ) from error


def _load_torch(path: Path) -> Contents:
    import pickle

    import torch

    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        _check_zip(path)
    # A hostile file can fail in as many ways as the reader has lines; every one of them means that it cannot be read.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if zipped and path.suffix.lower() != ".safetensors":
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            else:
                # torch.load would take the suffix's word for the format, if it were given the name.
                with path.open("rb") as file:
                    loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        blamed = _BLAMED.search(str(error))
        wanted = foreign_global(path) or (blamed.group(1) if blamed else None)
        if wanted is None:
            raise UnreadableCheckpoint(
                f"{shown(path)} is no checkpoint of torch.save, or a damaged one.", evidence=_first_line(error), remedy=_AGAIN
            ) from error
        raise UnsafeCheckpoint(
            f"{shown(path)} wants to run {shown(wanted)} when it is opened; it was refused and not run.",
            evidence="a checkpoint needs tensors only; torch.load was given weights_only=True",
            remedy="if you trust its source, load it there and save model.state_dict() alone, or as safetensors",
        ) from error
    except Exception as error:
        raise UnreadableCheckpoint(
            f"{shown(path)} is truncated or damaged.", evidence=_first_line(error), remedy=_AGAIN
        ) from error
    if not isinstance(loaded, Mapping):
        raise UnreadableCheckpoint(
            f"{shown(path)} holds a {type(loaded).__name__}, not named tensors.", remedy="save model.state_dict() instead"
        )
    return Contents(dict(_flatten(loaded, "", set())), _plain(loaded, 0) or {}, tuple(_unnamed(loaded, "", 0)))


def _check_zip(path: Path) -> None:
    """torch.save stores its records as they are, and they are mapped as they are: a compressed one is not its work."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UnreadableCheckpoint(
            f"{shown(path)} is truncated or damaged.", evidence=_first_line(error), remedy=_AGAIN
        ) from error
    if packed:
        raise UnreadableCheckpoint(
            f"{shown(path)} is a compressed zip archive, not a checkpoint of torch.save.",
            evidence=f"compressed: {shown(packed[0])}",
            remedy="unpack it and give the checkpoint inside",
        )


def _flatten(value: Mapping[Any, Any], prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Every mapping is entered once: a pickle can hold itself."""
    from torch import Tensor

    seen.add(id(value))
    for key, item in value.items():
        if isinstance(item, Tensor):
            yield f"{prefix}{key}", item.detach()
        elif isinstance(item, Mapping) and id(item) not in seen and prefix.count(".") < _DEPTH:
            yield from _flatten(item, f"{prefix}{key}.", seen)


def _plain(value: Any, depth: int) -> Any:
    """The tree of what is no tensor; None for what is none of the plain types, or too much of them."""
    if depth > _PLAIN_DEPTH:
        return None
    if isinstance(value, Mapping):
        items = ((str(key), _plain(item, depth + 1), item is None) for key, item in value.items())
        return {key: plain for key, plain, said in items if said or (plain is not None and plain not in ({}, []))}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    return value if isinstance(value, (bool, int, float, str)) else None


def _unnamed(value: Mapping[Any, Any], place: str, depth: int) -> Iterator[str]:
    from torch import Tensor

    for key, item in value.items():
        if isinstance(item, Mapping) and depth < _DEPTH:
            yield from _unnamed(item, f"{place}{key}.", depth + 1)
        elif isinstance(item, (list, tuple)) and any(isinstance(each, Tensor) for each in item):
            yield f"{place}{key}"


def _first_line(error: Exception) -> str:
    """The telling line of a library's error: the first one that is not torch's advice on weights_only."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "weights_only" not in line]
    return shown(f"{type(error).__name__}: {(telling or lines or ['no message'])[0]}")
