"""What is said about a head besides its weights: a TOML file, or the file's own metadata. All of it comes from outside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgec.errors import HeadError
from edgec.heads.types import Description
from edgec.text import shown
from edgec.untrusted import TEXT_LIMIT, Refused, is_file, parse_json, parse_toml, read_bytes

_LIMIT = 1 << 20
_TEXTS = frozenset({"kind", "name", "description", "prefix", "output"})
"""Fields that are text, even if it looks like a number. Fields with a choice of words need not be here: no such word is JSON."""
_IGNORED = frozenset({"format"})
"""Keys that writers of safetensors files add to the metadata themselves."""


def toml_beside(path: Path) -> Path | None:
    """The TOML that describes the head in `path`, of the same name but for the suffix; None if there is none."""
    toml = path.with_suffix(".toml")
    return toml if is_file(toml) else None


def data_beside(path: Path) -> Path | None:
    """The weights that the ONNX head in `path` keeps in another file (`edgec.heads.onnx_heads.external_data`), where there is
    one."""
    data = path.with_name(f"{path.name}.data")
    return data if path.suffix.lower() == ".onnx" and is_file(data) else None


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file. Raises `HeadError` if it is not valid TOML, or too large."""
    try:
        return parse_toml(read_bytes(path, TEXT_LIMIT))
    except (Refused, OSError) as error:
        raise HeadError(
            f"{shown(path)} is not valid TOML for a head's description.", evidence=f"it {shown(error)}", remedy="correct it"
        ) from error


def from_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """A description's fields from a file's metadata, which holds texts alone: other values are JSON there, as in `classes`:
    `["floor", "wall"]`."""
    fields: dict[str, Any] = {key: value for key, value in texts.items() if key not in _IGNORED}
    for key in fields.keys() - _TEXTS:
        with suppress(Refused):
            fields[key] = parse_json(fields[key])
    return fields


def checked(fields: Mapping[str, Any], where: str) -> Description:
    """The description with these fields. Raises `HeadError` naming every field that is missing, unknown, of another type or out
    of range."""
    from edgec.heads.kinds import description

    model = description()
    try:
        # Strict, so that no text is taken for a number; from JSON, so that lists may become tuples.
        described = model.model_validate_json(json.dumps(dict(fields)), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise HeadError(
            f"{shown(where)} does not describe a head.",
            evidence=[f"{shown('.'.join(map(str, each['loc'])), 80)}: {shown(each['msg'])}" for each in problems[:8]],
            remedy=f"the fields are: {', '.join(model.model_fields)}",
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
        order = f"as DINOv3's own code gives them in any case: {sorted(described.layers)}"
        problems.append(f"layers {list(described.layers)}: ascending, {order}")
    if len(set(described.classes)) != len(described.classes):
        problems.append("two classes have one name")
    if any(not name.strip() or not name.isprintable() for name in described.classes):
        problems.append("a class has no name, or one that cannot be printed")
    problems += [problem for each in KINDS.values() for problem in each.problems(described)]
    if problems:
        raise HeadError(f"{shown(where)} does not describe a head.", evidence=problems)
