"""Configuration files from outside: JSON, YAML and TOML, bounded, as plain tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgec.checkpoint.text import shown
from edgec.errors import UnreadableCheckpoint
from edgec.untrusted import TEXT_LIMIT, Refused, parse_json_object, parse_toml, parse_yaml, read_bytes

_LIMIT = 16 << 20
YAML = (".yaml", ".yml")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `UnreadableCheckpoint` if it is anything else."""
    try:
        return parse_json_object(read_bytes(path, _LIMIT))
    except (Refused, OSError) as error:
        raise UnreadableCheckpoint(
            f"{shown(path)} is not valid JSON for a configuration.",
            evidence=f"it {shown(error)}",
            remedy="copy it again from where it is whole; --config none builds without it",
        ) from error


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object, or YAML or TOML by the file's suffix. Raises `UnreadableCheckpoint` if it is anything else."""
    suffix = path.suffix.lower()
    if suffix not in (*YAML, ".toml"):
        return read_json(path)
    try:
        text = read_bytes(path, TEXT_LIMIT)
        return parse_toml(text) if suffix == ".toml" else parse_yaml(text)
    except (Refused, OSError) as error:
        raise UnreadableCheckpoint(
            f"{shown(path)} is not {'TOML' if suffix == '.toml' else 'YAML'} that edgec reads.",
            evidence=f"it {shown(error)}",
            remedy="if it is not the checkpoint's, --config none builds without it; else write what matters as JSON for --config",
        ) from error
