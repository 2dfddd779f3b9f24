"""How strongly to smooth each activation: the exponent that makes its products' outputs most exact, searched, not assumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgec.graph.operations import constants
from edgec.graph.passes.smooth import by_input_channel, groups
from edgec.graph.statistics import Statistics
from edgec.precision.numbers import quantise_rows, quantise_static, quantise_weight

STRENGTHS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""α of SmoothQuant: 0 leaves the activation as it is."""

Floats = NDArray[np.float32]


def search_smoothing(
    hub: onnx.ModelProto, statistics: Mapping[str, Statistics], *, per_token: Collection[str], activations: str
) -> dict[str, tuple[float, ...]]:
    """Scales for each activation that gains by them; the others are left out.

    The measure is the mean squared error of all products behind the activation, on its sampled rows, with weights quantised per
    channel and the activation as the plan will: a scale for each row where all its products are among `per_token`, else in one
    static range.
    """
    values = constants(hub)
    found = {}
    for group in groups(hub):
        seen = statistics.get(group.activation)
        if seen is None:
            continue
        weights = [by_input_channel(reader, numpy_helper.to_array(values[reader.weight])) for reader in group.readers]
        weight = np.concatenate([each.reshape(len(each), -1) for each in weights], axis=1)
        rows = all(reader.name in per_token for reader in group.readers)
        scale = _best(seen, weight, per_token=rows, activations=activations)
        if scale is not None:
            found[group.activation] = tuple(float(value) for value in scale)
    return found


def _best(seen: Statistics, weight: Floats, *, per_token: bool, activations: str) -> Floats | None:
    exact = seen.rows @ weight
    reach = np.maximum(np.maximum(np.abs(seen.low), np.abs(seen.high)), 1e-6)
    gain = np.maximum(np.abs(weight).max(axis=1), 1e-6)
    best: tuple[float, Floats | None] = (np.inf, None)
    for strength in STRENGTHS:
        scale = np.ones_like(reach) if strength == 0 else reach**strength / gain ** (1 - strength)
        scaled = seen.scaled(scale)
        rows = quantise_rows(scaled.rows) if per_token else quantise_static(scaled.rows, scaled.range, activations)
        error = float(np.square(rows @ quantise_weight(weight * scale[:, None]) - exact).mean())
        if error < best[0]:
            best = (error, None if strength == 0 else scale)
    return best[1]
