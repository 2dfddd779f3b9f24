"""explanation.json: why each operation runs in the type that it does, what that cost, and where the model is hard to quantise.

It is written by the build, holds no timings that change from run to run, and is what `edgec explain` prints.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgec.records.base import Record
from edgec.records.evidence import Evidence

EXPLANATION = "explanation.json"
SCHEMA_VERSION = 1


class OperationFacts(Record):
    """One operation that has a choice. `macs` are those of one batch."""

    name: str
    kind: str
    precision: str
    reason: str
    macs: int = Field(ge=0)
    smoothed: bool = False
    """Its activation's channels were evened out in the weights before it."""
    sensitivity: float | None = Field(default=None, ge=0)
    """What the features lose if this operation alone runs in int8 with a static range: 1 minus the mean patch cosine, on
    calibration frames. None where it was not measured."""


class MassiveActivation(Record):
    """The largest value of an operation's input that dwarfs the rest: `ratio` is to the largest value of the usual token
    there."""

    operation: str
    channel: int = Field(ge=0)
    token: str
    """`cls`, `register 2`, or `patch 3,11` (row, column)."""
    frame: str
    value: float
    ratio: float = Field(ge=0)


class ExceptionFacts(Record):
    """Operations that the chosen plan keeps out of static int8, what that bought in features, and at what price where known."""

    operations: tuple[str, ...]
    precision: str
    reason: str
    lost_without: float | None = Field(default=None, ge=0)
    """1 minus the fidelity of the same plan without the exception, where a candidate shows it."""
    lost_with: float | None = Field(default=None, ge=0)


class Explanation(Record):
    """The contents of explanation.json. `int8_macs_share` is of all multiply-accumulates, attention's own included;
    in an artefact that multiplies in fp8 it is the share of that."""

    schema_version: Literal[1] = 1
    evidence: Evidence
    int8_macs_share: float = Field(ge=0, le=1)
    operations: tuple[OperationFacts, ...]
    exceptions: tuple[ExceptionFacts, ...] = ()
    massive: tuple[MassiveActivation, ...] = ()
