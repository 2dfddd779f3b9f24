"""The rules of `rules.toml`: what each TensorRT version accepts of a graph, and what it is known to get wrong."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from edgec.errors import RequestError
from edgec.records.base import Record

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

FILE = Path(__file__).with_name("rules.toml")

Version = tuple[int, ...]
Severity = Literal["error", "warning"]


def parse_version(text: str) -> Version:
    """The numbers of a version such as `10.3` or `8.6.1`. Raises `RequestError` for anything else."""
    parts = text.strip().split(".")
    if not 1 <= len(parts) <= 4 or not all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        raise RequestError(
            f"{text!r} is not a TensorRT version.", remedy="give numbers with points between them, as in 10.3 or 8.6.1"
        )
    return tuple(int(part) for part in parts)


class Versions(Record):
    """TensorRT versions from `min` up to but not including `below`."""

    min: str
    below: str

    @field_validator("min", "below")
    @classmethod
    def _is_version(cls, value: str) -> str:
        parse_version(value)
        return value

    def hold(self, version: Version) -> bool:
        """Whether a version is one of them."""
        # 10.3.0 is not below 10.3: missing parts are zeros.
        return _padded(parse_version(self.min)) <= _padded(version) < _padded(parse_version(self.below))


class Rule(Record):
    """One rule: a graph in which `pattern` is found breaks it on these versions, with this `consequence`."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    tensorrt: Versions
    pattern: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    severity: Severity
    consequence: str = Field(min_length=1)
    source: str = Field(min_length=1)
    remedy: str = Field(min_length=1)


class Rules(Record):
    """The whole file."""

    operators: dict[str, tuple[str, ...]]
    """By version: the operators that it was the first to import."""
    rule: tuple[Rule, ...]

    def known_operators(self, version: Version) -> frozenset[str]:
        """The operators that this version imports."""
        return frozenset(
            name for since, names in self.operators.items() if _padded(parse_version(since)) <= _padded(version) for name in names
        )


@cache
def read_rules() -> Rules:
    """The rules of `rules.toml`."""
    return Rules.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))


def oldest_known() -> Version:
    """The oldest version that a rule covers."""
    return min(parse_version(rule.tensorrt.min) for rule in read_rules().rule)


def newest_known() -> Version:
    """The first version after all that rules cover."""
    return max(parse_version(rule.tensorrt.below) for rule in read_rules().rule)


def _padded(version: Version) -> Version:
    return (*version, 0, 0, 0, 0)[:4]
