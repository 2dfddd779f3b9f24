"""How strongly to smooth each activation: the exponent that makes its products' outputs most exact, searched, not assumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.graph.numbers import quantise_rows, quantise_static, quantise_weight
from edgec.graph.passes.smooth import by_input_channel, groups
from edgec.graph.plan import Bytes
from edgec.graph.statistics import Statistics
from edgec.precision.static import headroom

STRENGTHS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""α of SmoothQuant: 0 leaves the activation as it is. Beyond 0.8 calibration frames go on gaining and others lose: on ViT-S/16
with symmetric activations a limit of 1.0 lost over three times as much at the worst percentile of patches."""
OF_NEAREST = 0.5
"""The share of the error of weights rounded to the nearest that remains, about, if they are rounded as in `rounding`."""
WORTH_A_NODE = 0.6
"""Where smoothing needs a node of its own, it must leave no more than this share of the error."""

Floats = NDArray[np.float32]


def search_smoothing(
    hub: ir.Model,
    statistics: Mapping[str, Statistics],
    *,
    per_token: Collection[str] = (),
    unquantised: Collection[str] = (),
    activations: Bytes,
    paired: bool = False,
) -> dict[str, tuple[float, ...]]:
    """Scales, one a channel, by activation, for those whose products become more exact by them.

    The measure is the mean squared error of all products behind the activation, on its sampled rows, with weights quantised per
    channel and the activation as the plan will: a scale for each row where all its products are among `per_token`, else in one
    static range. Nothing is smoothed for products that are all `unquantised`.
    """
    scales = {}
    for group in groups(hub):
        seen = statistics.get(group.activation)
        if seen is None or all(reader.name in unquantised for reader in group.readers):
            continue
        weights = [by_input_channel(reader, reader.weights) for reader in group.readers]
        weight = np.concatenate([each.reshape(len(each), -1) for each in weights], axis=1)
        rows = all(reader.name in per_token for reader in group.readers)
        worth = WORTH_A_NODE if group.kind == "inserted" else 1.0
        scale = _best(seen, weight, worth, per_token=rows, activations=activations, paired=paired)
        if scale is not None:
            scales[group.activation] = tuple(float(value) for value in scale)
    return scales


def _best(seen: Statistics, weight: Floats, worth: float, *, per_token: bool, activations: Bytes, paired: bool) -> Floats | None:
    exact = seen.rows @ weight
    reach = np.maximum(np.maximum(np.abs(seen.low), np.abs(seen.high)), 1e-6)
    gain = np.maximum(np.abs(weight).max(axis=1), 1e-6)
    errors: dict[float, tuple[float, Floats]] = {}
    for strength in STRENGTHS:
        scale = np.ones_like(reach) if strength == 0 else reach**strength / gain ** (1 - strength)
        scaled, moved = seen.scaled(scale), weight * scale[:, None]
        rows = (
            quantise_rows(scaled.rows)
            if per_token
            else quantise_static(scaled.rows, scaled.range.widened(headroom(activations)), activations)
        )
        by_activation = float(np.square(rows @ moved - exact).mean())
        by_weight = float(
            np.square(scaled.rows @ (quantise_weight(moved, activations=activations, paired=paired) - moved)).mean()
        )
        errors[strength] = by_activation + OF_NEAREST * by_weight, scale
    best = min(errors, key=lambda strength: errors[strength][0])
    return None if best == 0 or errors[best][0] > worth * errors[0.0][0] else errors[best][1]
