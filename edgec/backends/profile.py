"""The keys that every target profile has. Those of one family are in `edgec.backends.<family>.profile`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator, model_validator

from edgec.records.base import Record

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8", "w8", "w6", "w4"]


class Promise(Record):
    """What a user may rely on, and who says so."""

    text: str = Field(min_length=1)
    source: str = Field(min_length=1)


@dataclass(frozen=True)
class DetailTable:
    """Facts in columns, for people. The first column names the row; `notes` stand below the table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


class Profile(Record):
    """A device or a class of devices. Frozen and closed: an unknown key is an error, not a wish."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    family: str
    """The name of a backend."""
    title: str
    examples: str = ""
    architecture: Literal["x86_64", "aarch64"]
    precisions: dict[Precision, tuple[str, ...]]
    """The runtimes that are worth trying for each precision, the preferred one first. One without runtimes is switched off."""
    cores: int | None = Field(default=None, ge=1)
    memory_gib: float | None = Field(default=None, gt=0)
    promises: tuple[Promise, ...] = ()

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Every runtime of any precision, in order of appearance."""
        return tuple(dict.fromkeys(runtime for runtimes in self.precisions.values() for runtime in runtimes))

    @property
    def candidates(self) -> tuple[tuple[str, Precision], ...]:
        """Every pair of runtime and precision worth building."""
        return tuple((runtime, precision) for precision, runtimes in self.precisions.items() for runtime in runtimes)

    @property
    def standing(self) -> int | None:
        """Its rank in lists of its family; None for boards, which come after classes of devices."""
        return None

    @property
    def sources(self) -> tuple[str, ...]:
        """Where its promises come from, each source once."""
        return tuple(dict.fromkeys(promise.source for promise in self.promises))

    @property
    def requires(self) -> tuple[str, ...]:
        """What a device must have, in the family's words."""
        return ()

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """What only this family's profiles say, for people: titles with texts."""
        return ()

    @property
    def tables(self) -> tuple[DetailTable, ...]:
        """Those details that are better shown as tables."""
        return ()

    @field_validator("precisions")
    @classmethod
    def _without_empty(cls, value: dict[Precision, tuple[str, ...]]) -> dict[Precision, tuple[str, ...]]:
        return {precision: runtimes for precision, runtimes in value.items() if runtimes}

    @model_validator(mode="after")
    def _has_precisions(self) -> Profile:
        if not self.precisions:
            raise ValueError("precisions: none has a runtime")
        return self


def version_of(text: str) -> tuple[int, ...]:
    """`10.3` as (10, 3), which compares as versions do."""
    return tuple(int(part) for part in text.split("."))
