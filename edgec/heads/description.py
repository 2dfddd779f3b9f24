"""What is said of a head beside its weights: TOML, or a file's own metadata. All of it comes from outside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgec.errors import HeadError
from edgec.heads.types import Description
from edgec.text import shown
from edgec.untrusted import TEXT_LIMIT, Refused, is_file, parse_json, parse_toml, read_bytes

_LIMIT = 1 << 20
_TEXTS = frozenset({"kind", "name", "description", "prefix", "output"})
"""Fields that are text, even where it looks like a number. Those of which one of a few words is chosen need not be here: none of
the words is JSON."""
_FOREIGN = frozenset({"format"})
"""What writers of safetensors files put into the metadata on their own."""


def beside(path: Path) -> Path | None:
    """The TOML that describes the head in `path`: of its name, with that suffix."""
    found = path.with_suffix(".toml")
    return found if is_file(found) else None


def data_beside(path: Path) -> Path | None:
    """The weights that the ONNX head in `path` keeps in another file (`edgec.heads.onnx_heads.external_data`), where there is
    one."""
    found = path.with_name(f"{path.name}.data")
    return found if path.suffix.lower() == ".onnx" and is_file(found) else None


def read_toml(path: Path) -> dict[str, Any]:
    """Raises `HeadError` if it is no TOML, or too much of it."""
    try:
        return parse_toml(read_bytes(path, TEXT_LIMIT))
    except (Refused, OSError) as error:
        raise HeadError(
            f"{shown(path)} is not valid TOML for a head's description.", evidence=f"it {shown(error)}", remedy="correct it"
        ) from error


def from_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """Metadata holds texts alone: what is no text in a description is JSON there, as in `classes`: `["floor", "wall"]`."""
    found: dict[str, Any] = {}
    for key, value in texts.items():
        if key in _FOREIGN:
            continue
        found[key] = value
        if key not in _TEXTS:
            try:
                found[key] = parse_json(value)
            except Refused:
                continue
    return found


def checked(found: Mapping[str, Any], where: str) -> Description:
    """Raises `HeadError` naming every field that is missing, unknown, of another type or out of range."""
    from edgec.heads.kinds import description

    model = description()
    try:
        # Strict, and from JSON: no text passes for a number, and lists are still tuples.
        described = model.model_validate_json(json.dumps(dict(found)), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise HeadError(
            f"{shown(where)} does not describe a head.",
            evidence=[f"{shown('.'.join(map(str, each['loc'])), 80)}: {shown(each['msg'])}" for each in problems[:8]],
            remedy=f"known are: {', '.join(model.model_fields)}",
        ) from None
    except (TypeError, ValueError, RecursionError) as error:  # dates, NaN and the like
        raise HeadError(f"{shown(where)} does not describe a head.", evidence=shown(error)) from error
    _check_sense(described, where)
    return described


def _check_sense(described: Description, where: str) -> None:
    from edgec.heads.kinds import KINDS

    problems, kind = [], KINDS.get(described.kind)
    if len(set(described.layers)) != len(described.layers) or any(layer < 0 for layer in described.layers):
        problems.append(f"layers {list(described.layers)}: each once, counted from 0")
    if (kind is None or kind.reads_layers) and list(described.layers) != sorted(described.layers):
        given = f"as DINOv3's own code gives them whatever order it is asked for: {sorted(described.layers)}"
        problems.append(f"layers {list(described.layers)}: ascending, {given}")
    if len(set(described.classes)) != len(described.classes):
        problems.append("two classes have one name")
    if any(not name.strip() or not name.isprintable() for name in described.classes):
        problems.append("a class has no name, or one that cannot be printed")
    problems += [problem for each in KINDS.values() for problem in each.problems(described)]
    if problems:
        raise HeadError(f"{shown(where)} does not describe a head.", evidence=problems)
