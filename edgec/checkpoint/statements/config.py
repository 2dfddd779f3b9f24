"""Configuration files (JSON, YAML and TOML) as plain dictionaries, read within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgec.errors import UnreadableCheckpoint
from edgec.text import shown
from edgec.untrusted import TEXT_LIMIT, Refused, parse_json_object, parse_toml, parse_yaml, read_bytes

_LIMIT = 16 << 20
YAML = (".yaml", ".yml")


def read_json(path: Path) -> dict[str, Any]:
    """A file's JSON object. Raises `UnreadableCheckpoint` if it holds anything else."""
    try:
        return parse_json_object(read_bytes(path, _LIMIT))
    except (Refused, OSError) as error:
        raise UnreadableCheckpoint(
            f"{shown(path)} is not valid JSON for a configuration.",
            evidence=f"it {shown(error)}",
            remedy="download or copy it again; --config none builds without it",
        ) from error


def read_config(path: Path) -> dict[str, Any]:
    """A file's JSON object, or its YAML or TOML by the suffix. Raises `UnreadableCheckpoint` if it holds anything else."""
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
