"""Calibration: one pass of frames through the hub graph, keeping of each activation what the search for precisions needs.

The reductions and the drawing of rows are nodes of the graph itself, so that a frame's activations never leave the runtime, and
what is kept does not grow with the number of frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.batches import filled
from edgec.errors import CalibrationError
from edgec.frames.types import Pixels
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.plan import Range
from edgec.graph.session import open_session
from edgec.graph.values import add_constant, shape_of

ROWS = 256
"""Rows kept of each activation: enough to rank candidates by their mean squared error, small enough for a ViT-H."""
ROWS_A_BATCH = 8
DRAWN = 64
"""Rows of each activation that a batch gives to the covariance, those that may be kept among them."""
TOGETHER = 512
"""Rows that are brought into the covariance at once."""
BLOCK = 1024
"""Channels that a covariance holds together at most: a ViT-H's 5120 would weigh 100 MB an activation as a whole."""

PARTS = ("low", "high", "mean", "drawn", "usual", "peak")
"""What the graph gives of each tensor, once a batch."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Statistics:
    """Of one activation, by channel: `low`, `high` and `mean`, each float32 [C], over all rows of all frames; and `rows`, float32
    [S, C], drawn at random over the frames. A row is one token, or one position of a feature map.

    `peak` is where the largest absolute value was: batch, row and channel, int64 [3]; `usual` is the largest absolute value of a
    row on average, float32 []. `covariance` is that of the channels over `DRAWN` rows of every batch, in blocks along the
    diagonal that together are C channels: float32 [blocks, size, size].
    """

    low: Floats
    high: Floats
    mean: Floats
    rows: Floats
    usual: Floats
    peak: NDArray[np.int64]
    covariance: Floats

    @property
    def range(self) -> Range:
        """Of the whole tensor, zero included."""
        return Range(min(float(self.low.min()), 0.0), max(float(self.high.max()), 0.0))

    def scaled(self, scale: Floats) -> Statistics:
        """As they would be if each channel were divided by its (positive) `scale`, [C]."""
        low, high, mean, rows = (value / scale for value in (self.low, self.high, self.mean, self.rows))
        parts = scale.reshape(len(self.covariance), -1)
        covariance = self.covariance / (parts[:, :, None] * parts[:, None, :])
        return replace(self, low=low, high=high, mean=mean, rows=rows, covariance=covariance)

    @property
    def moments(self) -> Floats:
        """Second moments, about zero, in the covariance's blocks."""
        parts = self.mean.reshape(len(self.covariance), -1)
        return self.covariance + parts[:, :, None] * parts[:, None, :]


def observe(
    hub: ir.Model,
    tensors: Sequence[str],
    frames: Iterable[Pixels],
    batch: int,
    *,
    threads: int | None = None,
    seed: int = 0,
) -> dict[str, Statistics]:
    """Statistics of each activation tensor over all frames, uint8 [H, W, 3]. Nothing is clipped: a massive activation is part of
    the model. The same frames and seed give the same rows. Raises `CalibrationError` if an activation is not finite.
    """
    observed, counts = _with_statistics(hub, tensors)
    session = open_session(observed, threads=threads)
    names = [output.name for output in session.get_outputs()]
    random = np.random.default_rng(seed)
    accumulators: dict[str, _Accumulator] = {tensor: _Accumulator() for tensor in tensors}
    for number, stack in enumerate(stacked(frames, batch)):
        drawn = {f"rows.{count}": random.integers(0, count, DRAWN) for count in set(counts.values())}
        # Which of the kept rows give way is drawn once a batch, the same for all tensors.
        slots = _reservoir(random, number)
        values = dict(zip(names, session.run(names, {"frames": stack, **drawn}), strict=True))
        for tensor, accumulator in accumulators.items():
            accumulator.add(tensor, {part: values[f"{tensor}.{part}"] for part in PARTS}, slots)
    return {tensor: accumulator.statistics() for tensor, accumulator in accumulators.items()}


def stacked(frames: Iterable[Pixels], batch: int) -> Iterator[NDArray[np.uint8]]:
    """Frames as uint8 [batch, H, W, 3] (`edgec.batches`)."""
    held: list[Pixels] = []
    for frame in frames:
        held.append(frame)
        if len(held) == batch:
            yield filled(held, batch)
            held = []
    if held:
        yield filled(held, batch)


def not_finite(activation: str) -> CalibrationError:
    """The error for an activation that is NaN or infinite."""
    return CalibrationError(
        "The float32 model computes NaN or Inf on a calibration frame.",
        evidence=f"first at the activation {activation}",
        remedy="check the checkpoint with `edgec inspect`",
    )


def save_statistics(path: Path, statistics: dict[str, Statistics]) -> None:
    """Write all arrays into one `.npz`."""
    arrays: dict[str, Any] = {}
    for name, entry in statistics.items():
        arrays |= {f"{name}|{field}": value for field, value in vars(entry).items()}
    np.savez(path, **arrays)


def load_statistics(path: Path) -> dict[str, Statistics]:
    """What `save_statistics` wrote."""
    with np.load(path, allow_pickle=False) as file:
        names = dict.fromkeys(key.rsplit("|", 1)[0] for key in file.files)
        parts = [entry.name for entry in fields(Statistics)]
        return {name: Statistics(**{part: file[f"{name}|{part}"] for part in parts}) for name in names}


@dataclass
class _Accumulator:
    """One tensor's statistics on their way; means run, so that nothing grows."""

    low: Floats | None = None
    high: Floats | None = None
    mean: NDArray[np.float64] | float = 0.0
    usual: float = 0.0
    peak: tuple[int, int, int] = (0, 0, 0)
    peak_value: float = -1.0
    batches: int = 0
    rows: list[Floats] = field(default_factory=list)
    pending: list[Floats] = field(default_factory=list)
    drawn: int = 0
    total: NDArray[np.float64] | float = 0.0
    products: Floats | None = None

    def add(self, tensor: str, values: dict[str, NDArray[Any]], slots: Sequence[int | None]) -> None:
        low, high, mean = values["low"], values["high"], values["mean"]
        # The mean carries NaN along, while the runtime's extremes pass over it.
        if not (np.isfinite(mean).all() and np.isfinite(low).all() and np.isfinite(high).all()):
            raise not_finite(tensor)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        largest = max(float(-low.min()), float(high.max()))
        if largest > self.peak_value:
            self.peak_value, self.peak = largest, (self.batches, *divmod(int(values["peak"][0]), len(low)))
        self.batches += 1
        self.mean = self.mean + (mean.astype(np.float64) - self.mean) / self.batches
        self.usual += (float(values["usual"]) - self.usual) / self.batches
        self._covary(values["drawn"])
        for row, slot in zip(values["drawn"], slots, strict=False):  # those that may be kept come first
            if slot is not None and slot == len(self.rows):
                self.rows.append(row.copy())
            elif slot is not None:
                self.rows[slot] = row.copy()

    def _covary(self, drawn: Floats) -> None:
        self.pending.append(drawn)
        if len(self.pending) * len(drawn) >= TOGETHER:
            self._settle()

    def _settle(self) -> None:
        """One product over many rows: adding up matrices after every batch would take longer than the model."""
        rows = np.concatenate(self.pending)
        self.pending.clear()
        self.drawn += len(rows)
        self.total = self.total + rows.sum(axis=0, dtype=np.float64)
        parts = rows.reshape(len(rows), _blocks(rows.shape[1]), -1).transpose(1, 2, 0)
        products = parts @ parts.transpose(0, 2, 1)
        self.products = products if self.products is None else self.products + products

    def _covariance(self) -> Floats:
        if self.pending:
            self._settle()
        assert self.products is not None
        mean = (np.asarray(self.total) / self.drawn).reshape(len(self.products), -1)
        return np.asarray(self.products / self.drawn - mean[:, :, None] * mean[:, None, :], dtype=np.float32)

    def statistics(self) -> Statistics:
        if self.low is None or self.high is None:
            raise CalibrationError("There was no frame to calibrate on.")
        return Statistics(
            low=self.low,
            high=self.high,
            mean=np.asarray(self.mean, dtype=np.float32),
            rows=np.stack(self.rows),
            usual=np.float32(self.usual),
            peak=np.array(self.peak, dtype=np.int64),
            covariance=self._covariance(),
        )


def _blocks(channels: int) -> int:
    """The number of equal blocks of at most `BLOCK` channels; of an even number each if possible, because some channels are
    treated in pairs."""
    fitting = [count for count in range(1, channels + 1) if channels % count == 0 and channels // count <= BLOCK]
    return next((count for count in fitting if channels // count % 2 == 0), fitting[0])


def _reservoir(random: np.random.Generator, number: int) -> list[int | None]:
    """Where the rows of batch `number` (from 0) go, so that every row of the stream is kept with the same probability."""
    slots: list[int | None] = []
    for index in range(number * ROWS_A_BATCH, (number + 1) * ROWS_A_BATCH):
        slot = index if index < ROWS else int(random.integers(0, index + 1))
        slots.append(slot if slot < ROWS else None)
    return slots


def _with_statistics(hub: ir.Model, tensors: Sequence[str]) -> tuple[ir.Model, dict[str, int]]:
    """The hub graph with statistics for outputs, and how many rows each tensor has."""
    model = hub.clone()
    graph, tape = model.graph, ir.tape.Tape(model.graph)
    values = ir.convenience.create_value_mapping(graph)
    axis, last, whole = (
        add_constant(graph, f"statistics.{name}", np.array([value], np.int64))
        for name, value in (("axis", 0), ("last", 1), ("all", -1))
    )
    counts: dict[str, int] = {}
    drawn: dict[int, ir.Value] = {}
    names = []
    for tensor in tensors:
        source, shape = values[tensor], shape_of(values[tensor])
        assert shape is not None
        if any(use.node.op_type == "Conv" and use.idx == 0 for use in source.uses()):
            source, shape = tape.op("Transpose", [source], {"perm": [0, 2, 3, 1]}), (shape[0], *shape[2:], shape[1])
        count = counts[tensor] = prod(shape[:-1])
        rows = drawn.setdefault(count, ir.val(f"rows.{count}", ir.DataType.INT64, [DRAWN]))
        flat = tape.op("Reshape", [source, add_constant(graph, f"{tensor}.flat.shape", np.array([-1, shape[-1]], np.int64))])
        sizes = tape.op("Abs", [flat])
        largest = tape.op("ReduceMax", [sizes, last], {"keepdims": 0})
        outputs: dict[str, tuple[str, list[ir.Value], dict[str, int], list[int]]] = {
            "low": ("ReduceMin", [flat, axis], {"keepdims": 0}, [shape[-1]]),
            "high": ("ReduceMax", [flat, axis], {"keepdims": 0}, [shape[-1]]),
            "mean": ("ReduceMean", [flat, axis], {"keepdims": 0}, [shape[-1]]),
            "drawn": ("Gather", [flat, rows], {"axis": 0}, [DRAWN, shape[-1]]),
            "usual": ("ReduceMean", [largest], {"keepdims": 0}, []),
            "peak": ("ArgMax", [tape.op("Reshape", [sizes, whole])], {"axis": 0}, [1]),
        }
        for part, (kind, inputs, attributes, sides) in outputs.items():
            element = ir.DataType.INT64 if part == "peak" else ir.DataType.FLOAT
            tape.op(kind, inputs, attributes, output=ir.val(f"{tensor}.{part}", element, sides))
            names.append(f"{tensor}.{part}")
    graph.inputs.extend(drawn[count] for count in sorted(drawn))
    GiveOnly(names)(model)  # without heads, which would take their time on every frame
    return model, counts
