"""Operations beside PyTorch's: many in one program, because saving one takes half a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .programs import Array, mb, run, save, types


@dataclass
class Case:
    """`build` and `expect` are given `x` (and `y`), as variables of MIL and as tensors of torch."""

    name: str
    build: Callable[..., Any]
    expect: Callable[..., Any]
    x: Array
    y: Array | None = None
    several: int = 1
    inputs: dict[str, Array] = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = {f"{self.name}_x": self.x} | ({} if self.y is None else {f"{self.name}_y": self.y})


def compute(cases: Sequence[Case], path: Path) -> dict[str, Array]:
    """Every result as float32, from the package that was saved at `path`."""
    inputs = {name: value for case in cases for name, value in case.inputs.items()}

    def outputs(variables: dict[str, Any]) -> dict[str, Any]:
        actual: dict[str, Any] = {}
        for case in cases:
            made = case.build(**{name.removeprefix(f"{case.name}_"): variables[name] for name in case.inputs})
            for number, part in enumerate(made if isinstance(made, (list, tuple)) else [made]):
                # identity takes floats alone
                kept = part if part.dtype == types.fp32 else mb.cast(x=part, dtype="fp32")
                actual[f"{case.name}_{number}"] = kept
        return actual

    return run(save(path, inputs, outputs), inputs)


def check(case: Case, computed: dict[str, Array]) -> None:
    expected = case.expect(*(torch.tensor(value) for value in case.inputs.values()))
    parts = expected if isinstance(expected, tuple) else (expected,)
    assert len(parts) == case.several
    for number, part in enumerate(parts):
        actual = computed[f"{case.name}_{number}"]
        np.testing.assert_allclose(actual, part.float().numpy(), rtol=2e-5, atol=2e-6)
