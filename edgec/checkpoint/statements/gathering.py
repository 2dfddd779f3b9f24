"""Collects all statements: from the files of the checkpoint's folder and from its container, or from the file of --config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgec.checkpoint.statements import generic, preprocessing, timm, transformers
from edgec.checkpoint.statements.config import read_config
from edgec.checkpoint.statements.types import Statements
from edgec.errors import UnreadableCheckpoint
from edgec.text import shown
from edgec.untrusted import Refused, parse_json

CONFIG: Final = "config.json"


@dataclass(frozen=True)
class Origin:
    """Where statements may be. `files` are next to the weights; `container` is what the file of weights, called `name`, holds
    besides tensors."""

    files: tuple[Path, ...] = ()
    container: Mapping[str, Any] | None = None
    name: str = ""
    folder: Path | None = None
    """Where the weights are; files elsewhere are shown with their folder's name."""
    known: tuple[str, ...] = ()
    """Names of files that must be readable; others are skipped and reported if they are not."""
    chosen: bool = False
    """The one file was given with --config: it must state something."""


def gather(origin: Origin) -> Statements:
    """All statements. Raises a `CheckpointError` for a file that cannot be read, for a statement that describes another model,
    and for one that edgec cannot obey."""
    statements = Statements()
    for path in origin.files:
        here = origin.folder is None or path.parent == origin.folder
        where = shown(path.name) if here else shown(f"{path.parent.name}/{path.name}")
        try:
            values = read_config(path)
        except UnreadableCheckpoint:
            if path.name in origin.known:
                raise
            statements.unreadable.append(where)
            continue
        strict = origin.chosen or (here and path.name == CONFIG)
        _from_file(values, where, strict, statements)
    if origin.chosen and not statements.entries:
        raise UnreadableCheckpoint(
            "The file given as --config has no key that edgec knows.",
            evidence=", ".join(shown(path) for path in origin.files),
            remedy="use the keys of transformers' config.json and preprocessor_config.json, or of timm's config.json",
        )
    if origin.container:
        generic.from_tree(_with_metadata(origin.container), shown(origin.name), statements)
    return statements


def _with_metadata(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container with safetensors' metadata parsed: it holds texts alone, in which other values are JSON."""
    texts = container.get("__metadata__")
    if not isinstance(texts, Mapping):
        return container
    metadata: dict[str, Any] = {}
    for key, text in texts.items():
        try:
            metadata[key] = parse_json(text) if isinstance(text, str) else text
        except Refused:
            metadata[key] = text
    return {**container, "__metadata__": metadata}


def _from_file(values: Mapping[str, Any], where: str, strict: bool, statements: Statements) -> None:
    """`strict`: the file is the model's own configuration, so that a configuration of another model is an error."""
    if timm.is_timm(values):
        timm.from_timm(values, where, statements)
    elif transformers.is_transformers(values) and strict:
        transformers.from_transformers(values, where, statements)
        if preprocessing.is_processor(values):
            preprocessing.from_processor(values, where, statements)
    elif preprocessing.is_processor(values) or ("processor" in where and "image_mean" in values):
        preprocessing.from_processor(values, where, statements)
        rest = {key: value for key, value in values.items() if isinstance(value, Mapping)}
        generic.from_tree(rest, where, statements)
    else:
        generic.from_tree(values, where, statements)
