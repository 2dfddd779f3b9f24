"""Correct in the biases the mean error of outputs that quantisation causes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from edgec.graph.passes.base import Rewrite
from edgec.graph.passes.constants import bias_add, get_constant, set_constant
from edgec.graph.values import array_of, input_of, name_of


class CorrectBiases(Rewrite):
    """Adds to each named operation's bias its correction, one number an output channel. Operations that the model lacks are
    skipped: the plan may have been made for more outputs than the model has.

    Requires that each of the others has a bias of as many channels. Ensures that biases are finite.
    """

    def __init__(self, corrections: Mapping[str, tuple[float, ...]]) -> None:
        super().__init__()
        self._corrections = corrections

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Biases that do not have as many channels as their correction."""
        for operation, add, correction in self._each(model):
            channels = array_of(input_of(add, 1)).size if add else 0
            if channels != len(correction):
                yield f"{operation} has a bias of {channels} channels, its correction {len(correction)}"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Adds the corrections."""
        for _, add, correction in self._each(model):
            assert add is not None
            set_constant(add, 1, get_constant(add, 1) + np.asarray(correction, dtype=np.float64))
        return ir.passes.PassResult(model, modified=bool(self._corrections))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Biases that are not finite."""
        biases = [(operation, array_of(input_of(add, 1))) for operation, add, _ in self._each(model) if add]
        return [f"the bias of {operation} is not finite" for operation, bias in biases if not np.isfinite(bias).all()]

    def _each(self, model: ir.Model) -> Iterator[tuple[str, ir.Node | None, tuple[float, ...]]]:
        for node in model.graph if self._corrections else ():
            if name_of(node) in self._corrections:
                yield name_of(node), bias_add(node), self._corrections[name_of(node)]
