"""A few numbers about what each operation of a program computed of one batch: enough to find later the first operation that
computes something else, without the graph that the program was made from.

A tensor is recorded as random projections along its last axis and, if it has four axes or more, its second (channels, in either
layout): the elements of an axis fall into `BUCKETS` buckets, and each bucket's elements are summed with random signs. A change in
one channel, row or element, or a permutation, moves some bucket by about as much. Signs and buckets follow from indices alone, so
that two machines draw the same ones. numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgec.records.base import Record

SCHEMA_VERSION: Final = 1
TRACE = "golden/operations.json"
BUCKETS = 16
DIGITS = 6
TOLERANCE = 5e-4
"""How far a projection may move, as a share of its bucket's size: twenty times what another order of summing
does to a ViT-S/16 or a ConvNeXt-T (2.4e-5)."""

Floats = NDArray[np.float32]


class OperationTrace(Record):
    """`values` are projections, `sizes` the root of the bucket's sum of squares: what a projection is expected to be."""

    name: str
    kind: str
    values: tuple[float, ...]
    sizes: tuple[float, ...]


class Trace(Record):
    """Of the first batch of the golden frames, in the order of the program."""

    schema_version: Literal[1] = SCHEMA_VERSION
    operations: tuple[OperationTrace, ...]


@runtime_checkable
class Traceable(Protocol):
    """A runner that can tell what each of its operations computes."""

    def trace(self, frames: NDArray[np.uint8]) -> Trace:
        """The trace of one batch, uint8 [N, H, W, 3]."""
        ...


@dataclass(frozen=True)
class Difference:
    """The first operation that is not as recorded. `share` is how far its result moved, as a share of its size."""

    name: str
    kind: str
    share: float
    missing: bool = False
    """Whether there is another operation in its place than was recorded, or none."""
    reshaped: bool = False
    """Whether its result has another shape."""

    def __str__(self) -> str:
        if self.reshaped:
            return f"{self.name} ({self.kind}): its result has another shape than when the artefact was built"
        if self.missing:
            return f"{self.name} ({self.kind}) is not where it was when the artefact was built"
        return f"{self.name} ({self.kind}): its result moved by {self.share:.2g} of its size (tolerated: {TOLERANCE:g})"


def sketch(name: str, kind: str, results: Iterable[NDArray[Any]]) -> OperationTrace:
    """The trace of one operation from its results. NaN counts as zero and Inf as 1e30, because JSON has neither."""
    values: list[float] = []
    sizes: list[float] = []
    for result in results:
        finite = np.nan_to_num(np.asarray(result, dtype=np.float32), nan=0.0, posinf=1e30, neginf=-1e30)
        for axis in (1, finite.ndim - 1) if finite.ndim > 3 else (finite.ndim - 1,) if finite.ndim else ():
            projected, squares = _project(finite, axis)
            values += [_rounded(value) for value in projected]
            sizes += [_rounded(value) for value in np.sqrt(squares)]
    return OperationTrace(name=name, kind=kind, values=tuple(values), sizes=tuple(sizes))


def first_difference(recorded: Trace, actual: Trace) -> Difference | None:
    """The first operation whose results moved by more than `TOLERANCE`, or that is not the recorded one; None if all are
    alike."""
    for was, now in zip_longest(recorded.operations, actual.operations):
        if was is None or now is None or (was.name, was.kind) != (now.name, now.kind):
            shown = now or was
            assert shown is not None
            return Difference(shown.name, shown.kind, 1.0, missing=True)
        if len(was.values) != len(now.values):
            return Difference(now.name, now.kind, 1.0, reshaped=True)
        share = _share(was, now)
        if not share <= TOLERANCE:
            return Difference(now.name, now.kind, share)
    return None


def _share(was: OperationTrace, now: OperationTrace) -> float:
    """The largest move of a projection, as a share of the larger of the two sizes."""
    moved = np.abs(np.subtract(now.values, was.values))
    size = np.maximum(now.sizes, was.sizes)
    return float(np.max(moved / np.maximum(size, np.finfo(np.float32).tiny), initial=0.0))


def _project(values: Floats, axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Signed sums and sums of squares by bucket, each [BUCKETS], or as many as the axis has elements."""
    moved = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    rows, length = moved.shape
    # The signs of both axes are multiplied: a sum over rows, then one over each bucket's columns.
    columns = (_signs(rows, axis) @ moved).astype(np.float64) * _signs(length, axis + 8)
    squares = np.einsum("rc,rc->c", moved, moved).astype(np.float64)
    bucket = _buckets(length)
    count = min(BUCKETS, length)
    return np.bincount(bucket, columns, count).astype(np.float64), np.bincount(bucket, squares, count).astype(np.float64)


@lru_cache(maxsize=256)
def _signs(count: int, seed: int) -> Floats:
    return np.where(_mixed(count, seed) & 1, np.float32(1), np.float32(-1)).astype(np.float32)


@lru_cache(maxsize=64)
def _buckets(count: int) -> NDArray[np.intp]:
    """Buckets of equal size, in an order that no regular change follows."""
    buckets = np.empty(count, np.intp)
    buckets[np.argsort(_mixed(count, 3), kind="stable")] = np.arange(count) % min(BUCKETS, count)
    return buckets


def _mixed(count: int, seed: int) -> NDArray[np.uint32]:
    """Bits of each index, mixed as MurmurHash3 ends (Austin Appleby, public domain): the same on every machine and numpy."""
    bits = (np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B9 * (seed + 1))).astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = (bits ^ (bits >> np.uint32(shift))) * np.uint32(factor)
    return np.asarray(bits ^ (bits >> np.uint32(16)))


def _rounded(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")
