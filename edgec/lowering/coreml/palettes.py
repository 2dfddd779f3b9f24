"""Lookup tables for weights: for each group, the values that are nearest to all of its weights in the mean square."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 30
"""Of Lloyd's algorithm; on ViT-S/16's weights the error still falls by less than a thousandth in the last ten together."""


def palettise(groups: NDArray[np.float32], size: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Weights [groups, weights] as indices, of the same shape, into sorted tables [groups, size].

    Lloyd's algorithm on sorted values: a table's cells are then intervals, and sums over them differences of running sums.
    """
    indices = np.empty(groups.shape, np.uint8)
    tables = np.empty((len(groups), size), np.float32)
    for number, weights in enumerate(groups):
        tables[number] = table = _table(np.sort(weights), size)
        indices[number] = np.searchsorted(_bounds(table), weights)
    return indices, tables


def _table(ordered: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    sums = np.concatenate([[0.0], np.cumsum(ordered, dtype=np.float64)])
    # Between equal shares of the range and equal shares of the weights: the first wastes values where there are no weights, the
    # second leaves none for the few that are large.
    shares = np.quantile(ordered, (np.arange(size) + 0.5) / size)
    table = (shares + np.linspace(ordered[0], ordered[-1], size)) / 2
    for _ in range(ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(ordered, _bounds(table)), [len(ordered)]])
        counts = np.diff(ends)
        means = np.diff(sums[ends]) / np.maximum(counts, 1)
        table = np.sort(np.where(counts > 0, means, table))
    return table.astype(np.float32)


def _bounds(table: NDArray[Any]) -> NDArray[Any]:
    middles: NDArray[Any] = (table[1:] + table[:-1]) / 2
    return middles
