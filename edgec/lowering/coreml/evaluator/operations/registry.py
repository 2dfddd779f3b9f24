"""The operations that the evaluator knows, each one function whose parameters are named as in MIL.

Values are numpy arrays of the type that the program declares; strings are str, lists of values are lists. A function computes in
float32 where its values are fp16 or fp32, and need not round: `edgec.lowering.coreml.evaluator.program` gives each result the
type that the program declares. What a function does not know it refuses by raising `Unsupported`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float32]
Evaluate = Callable[..., Array | list[Array]]
F = TypeVar("F", bound=Evaluate)


class Unsupported(Exception):
    """Of one operation's use; the program turns it into a `RuntimeFailure` that names the operation."""


OPERATIONS: dict[str, Evaluate] = {}
PARAMETERS: dict[str, frozenset[str]] = {}


def operation(kind: str) -> Callable[[F], F]:
    """Make the decorated function MIL's operation `kind`."""

    def register(evaluate: F) -> F:
        OPERATIONS[kind] = evaluate
        PARAMETERS[kind] = frozenset(inspect.signature(evaluate).parameters)
        return evaluate

    return register


EXACT: dict[str, Evaluate] = {}


def exact(kind: str) -> Callable[[F], F]:
    """Make the decorated function what operation `kind`, which exists to round, computes when nothing is to be rounded."""

    def register(evaluate: F) -> F:
        EXACT[kind] = evaluate
        return evaluate

    return register


def wide(x: Array) -> Array:
    """fp16 as float32; any other type unchanged."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def floats(x: Array) -> Floats:
    """As float32, contiguous. Raises `Unsupported` for integers and booleans."""
    if x.dtype not in (np.float16, np.float32):
        raise Unsupported(f"{x.dtype} where fp16 or fp32 is expected")
    return np.ascontiguousarray(x, dtype=np.float32)


def ints(x: Array) -> list[int]:
    """The elements of an integer parameter, a scalar's too."""
    return [int(value) for value in np.atleast_1d(x)]


def ints_or_ones(x: Array | None, count: int) -> list[int]:
    """The elements of a parameter that is `count` ones by default."""
    return [1] * count if x is None else ints(x)
