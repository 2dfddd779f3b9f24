"""All that is stated: in the files of the checkpoint's folder, in its container, or in the one file that --config names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgec.checkpoint.config import read_config
from edgec.checkpoint.stated import generic, preprocessing, timm, transformers
from edgec.checkpoint.stated.types import Statements
from edgec.checkpoint.text import shown
from edgec.errors import UnreadableCheckpoint
from edgec.untrusted import Refused, parse_json

CONFIG: Final = "config.json"


@dataclass(frozen=True)
class Origin:
    """Where statements may stand. `files` are beside the weights; `container` is what a file of weights holds beside tensors,
    named `name`."""

    files: tuple[Path, ...] = ()
    container: Mapping[str, Any] | None = None
    name: str = ""
    folder: Path | None = None
    """Where the weights are; files in others are told with their folder."""
    known: tuple[str, ...] = ()
    """Names of files that must be readable; others are passed over, and told, where they are not."""
    chosen: bool = False
    """The one file was named with --config: it must say something."""


def gather(origin: Origin) -> Statements:
    """Raises a `CheckpointError` for what cannot be read, what describes another model, and what edgec does not compute."""
    statements = Statements()
    for path in origin.files:
        before = len(statements.said)
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
        if len(statements.said) > before:
            statements.sources.append(where)
    if origin.chosen and not statements.said:
        raise UnreadableCheckpoint(
            "The file given as --config says nothing that edgec knows of a model.",
            evidence=", ".join(shown(path) for path in origin.files),
            remedy="its keys are those of transformers' config.json and preprocessor_config.json, or of timm's config.json",
        )
    if origin.container:
        before = len(statements.said)
        generic.from_tree(_with_metadata(origin.container), shown(origin.name), statements)
        if len(statements.said) > before:
            statements.sources.append(origin.name)
    return statements


def _with_metadata(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """safetensors' metadata holds texts alone: what is more is JSON in them."""
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
    """`strict`: the file is the model's own configuration, so that one of another model is refused."""
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
