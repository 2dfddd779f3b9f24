"""config.json and preprocessor_config.json: what the weights cannot say themselves, and what they must agree with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgec.checkpoint.text import shown
from edgec.errors import MismatchedWeights, UnknownForm, UnreadableCheckpoint
from edgec.untrusted import Refused, parse_json_object, read_bytes

_LIMIT = 16 << 20


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from outside. Raises `UnreadableCheckpoint` if it is anything else."""
    try:
        return parse_json_object(read_bytes(path, _LIMIT))
    except (Refused, OSError) as error:
        raise UnreadableCheckpoint(
            f"{shown(path)} is not valid JSON for a configuration.",
            evidence=f"it {shown(error)}",
            remedy="copy it again from where it is whole",
        ) from error


@dataclass(frozen=True)
class Config:
    """A model's configuration; an empty one where the checkpoint has none."""

    values: Mapping[str, Any] = field(default_factory=dict)
    where: str = "config.json"

    @classmethod
    def read(cls, path: Path | None) -> Config:
        return cls() if path is None else cls(read_json(path), path.name)

    def number(self, key: str, default: float) -> float:
        """A positive, finite number. Raises `UnreadableCheckpoint` if it is something else."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise UnreadableCheckpoint(
                f"{self.where} has no usable {key}.", evidence=f"found {shown(value)}; needed a positive number"
            )
        return float(value)

    def whole(self, key: str) -> int | None:
        """A positive whole number, or None if there is none under `key`."""
        if key not in self.values:
            return None
        value = self.number(key, 1)
        if value != int(value):
            raise UnreadableCheckpoint(f"{self.where} has no usable {key}.", evidence=f"found {value}; needed a whole number")
        return int(value)

    def check(self, key: str, found: object) -> None:
        """Raises `MismatchedWeights` if the configuration has `key` and the weights say something else."""
        stated = self.values.get(key, found)
        if isinstance(stated, list) and isinstance(found, int):
            stated = stated[0] if len(set(map(str, stated))) == 1 else stated
        if stated != found:
            raise MismatchedWeights(
                f"{self.where} and the weights disagree about {key}.",
                evidence=f"{self.where} says {shown(stated)}, the weights have {found}",
                remedy="take both from the same checkpoint",
            )

    def check_kind(self, family: str, activation: str) -> None:
        """Raises `UnknownForm` if the configuration describes another model, or another activation than DINOv3's."""
        expected = {"vit": "dinov3_vit", "convnext": "dinov3_convnext"}[family]
        kind = self.values.get("model_type", expected)
        if kind != expected:
            raise UnknownForm(
                f"{self.where} describes a model of another kind.",
                evidence=f"model_type is {shown(kind)}; the names of the weights are those of {expected}",
            )
        found = self.values.get("hidden_act", activation)
        if found != activation:
            raise UnknownForm(
                f"{self.where} asks for an activation that DINOv3 does not have.",
                evidence=f"hidden_act is {shown(found)}; needed {activation}",
            )
