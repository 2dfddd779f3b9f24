"""The stored tensors of one backbone, taken one by one; everything that is wrong with them is reported at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgec.checkpoint.containers.tensors import TensorCopier
from edgec.errors import MismatchedWeights, NonFiniteWeights
from edgec.text import counted, cut, dimensions, shown
from edgec.untrusted import Refused

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
_MOST_ZEROS = 100_000_000
"""Zeros that are made in place of missing tensors: 400 MB."""


@dataclass
class Shelf:
    """The stored tensors of one backbone, taken one by one under the form's names; what is left in `tensors` was not expected.

    Problems are collected, and raised together by `raise_problems`.
    """

    tensors: dict[str, Tensor]
    names: Mapping[str, str]
    """From the form's names to those in the file, which messages show."""
    taken: Counter[str] = field(default_factory=Counter)
    """How many values of each stored type were taken."""
    assumed: list[str] = field(default_factory=list)
    """Names of missing tensors for which their neutral value was used."""
    problems: list[str] = field(default_factory=list)
    nonfinite: list[str] = field(default_factory=list)
    copier: TensorCopier = field(default_factory=TensorCopier)
    zeros: int = 0
    """How many zeros were made in place of missing tensors."""

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def shape(self, name: str) -> Shape | None:
        """A tensor's shape; None if there is no such tensor."""
        return tuple(self.tensors[name].shape) if name in self.tensors else None

    def take(self, name: str, shape: Shape, default: float | None = None) -> Tensor:
        """A float32 copy of the tensor; zeros if something is wrong with it, which is noted. A missing tensor is a problem unless
        it has a neutral value, `default`."""
        import torch

        tensor = self.tensors.pop(name, None)
        if tensor is None and default is not None:
            if 0 not in shape:
                self.assumed.append(name)
            return torch.full(shape, default)
        if tensor is None:
            return self._missing(f"{shown(self._file_name(name))} is missing; needed {dimensions(shape)}", shape)
        problem = _unusable(tensor, shape)
        values = None if problem else self._values(name, tensor)
        if problem:
            self.problems.append(f"{shown(self._file_name(name))} is {problem}")
        if values is None:
            return self._missing("", shape)
        self.taken[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
        finite = torch.isfinite(values)
        if not bool(finite.all()):
            self._note_nonfinite(name, values, finite)
        return values

    def take_small(self, name: str) -> Tensor | None:
        """A float32 copy of a tensor of any shape and numeric type; None if it is missing or unusable, which is noted."""
        tensor = self.tensors.pop(name, None)
        return None if tensor is None else self._values(name, tensor)

    def _values(self, name: str, tensor: Tensor) -> Tensor | None:
        try:
            return self.copier.float32(tensor)
        except Refused as error:
            self.problems.append(f"{shown(self._file_name(name))} is {shown(error)}")
            return None

    def _missing(self, problem: str, shape: Shape) -> Tensor:
        """Zeros, so that the other tensors are checked too, up to a bound on the memory."""
        import torch

        if problem:
            self.problems.append(problem)
        self.zeros += math.prod(shape)
        if self.zeros > _MOST_ZEROS:
            self.raise_problems()
        return torch.zeros(shape)

    def raise_problems(self) -> None:
        """Raises `MismatchedWeights` or `NonFiniteWeights` if anything was wrong so far."""
        if self.problems:
            raise MismatchedWeights(
                f"{counted(len(self.problems), 'tensor')} of this checkpoint cannot be used.",
                evidence=cut(self.problems),
                remedy="compare it with the configuration that it was trained with, or get the file again",
            )
        if self.nonfinite:
            raise NonFiniteWeights(
                f"{counted(len(self.nonfinite), 'tensor')} of this checkpoint holds NaN or infinity.",
                evidence=cut(self.nonfinite),
                remedy="training diverged or the file is damaged: use an earlier checkpoint",
            )

    def _file_name(self, name: str) -> str:
        return self.names.get(name, name)

    def _note_nonfinite(self, name: str, values: Tensor, finite: Tensor) -> None:
        nan, total = int(values.isnan().sum()), values.numel()
        first = (~finite).nonzero()[0].tolist()
        infinite = total - int(finite.sum()) - nan
        counts = " and ".join(f"{count:,} {what}" for count, what in ((nan, "NaN"), (infinite, "Inf")) if count)
        self.nonfinite.append(f"{shown(self._file_name(name))}: {counts} of {total:,}, the first at {first}")


def _unusable(tensor: Tensor, shape: Shape) -> str:
    """Why a tensor cannot be this weight; empty if it can."""
    import torch

    if tuple(tensor.shape) != shape:
        return f"{dimensions(tensor.shape)}; needed {dimensions(shape)}"
    if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        return f"{str(tensor.dtype).removeprefix('torch.')}; needed float16, bfloat16 or float32"
    return ""
