"""All that is stated: in the files of the checkpoint's folder, in its container, or in the one file that --config names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.checkpoint.config import read_config
from edgec.checkpoint.stated import generic, preprocessing, timm, transformers
from edgec.checkpoint.stated.types import Statements
from edgec.checkpoint.text import shown
from edgec.errors import UnreadableCheckpoint
from edgec.untrusted import Refused, parse_json


@dataclass(frozen=True)
class Origin:
    """Where statements may stand. `files` are beside the weights; `container` is what a file of weights holds beside tensors,
    named `name`."""

    files: tuple[Path, ...] = ()
    container: Mapping[str, Any] | None = None
    name: str = ""
    chosen: bool = False
    """The one file was named with --config: it must say something."""


def gather(origin: Origin) -> Statements:
    """Raises a `CheckpointError` for what cannot be read, what describes another model, and what edgec does not compute."""
    statements = Statements()
    for path in origin.files:
        before = len(statements.said)
        _from_file(read_config(path), shown(path.name), statements)
        if len(statements.said) > before:
            statements.sources.append(path.name)
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


def _from_file(values: Mapping[str, Any], where: str, statements: Statements) -> None:
    if timm.is_timm(values):
        timm.from_timm(values, where, statements)
    elif transformers.is_transformers(values):
        transformers.from_transformers(values, where, statements)
        if preprocessing.is_processor(values):
            preprocessing.from_processor(values, where, statements)
    elif preprocessing.is_processor(values):
        preprocessing.from_processor(values, where, statements)
        generic.from_tree(
            {key: value for key, value in values.items() if not key.startswith(("image_", "do_"))}, where, statements
        )
    else:
        generic.from_tree(values, where, statements)
