"""Features of frames, by a float32 checkpoint or by an artefact: what heads are fitted on, and compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec import frames as framing
from edgec.artefact.reading import open_artefact
from edgec.batches import filled
from edgec.errors import RequestError
from edgec.frames import Crop, Pixels
from edgec.model.spec import Size
from edgec.records.manifest import MANIFEST
from edgec.untrusted import printable

Outputs = Mapping[str, NDArray[Any]]
_Run = Callable[[NDArray[np.uint8]], Outputs]


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """One frame and what the model makes of it.

    `name` is the frame's in its set, as in `bird/crow.jpg`; of a frame that was given as an array its number. `pixels` is what
    the model was given, uint8 [H, W, 3]. `outputs` are by name, without an axis for the batch: `cls` [D] and `patches`
    [H/p, W/p, D], on request `registers` [R, D] and `patches_K`, all float32; and those of heads.
    """

    name: str
    pixels: Pixels
    outputs: Outputs


def features(
    model: Path,
    frames: str | Path | Iterable[Pixels],
    *,
    size: Size | None = None,
    crop: Crop = "centre",
    registers: bool = False,
    layers: Sequence[int] = (),
    heads: Sequence[str] = (),
    weights: str | None = None,
    config: str | None = None,
    threads: int | None = None,
) -> Iterator[FrameFeatures]:
    """As `edgec.api.features` says."""
    artefact = (model / MANIFEST).is_file()
    of_checkpoints = {
        "size": size,
        "registers": registers,
        "layers": layers,
        "heads": heads,
        "weights": weights,
        "config": config,
    }
    if artefact and (given := [name for name, value in of_checkpoints.items() if value]):
        raise RequestError(
            f"An artefact says itself what {' and '.join(given)} {'is' if len(given) == 1 else 'are'}.",
            evidence=f"{printable(str(model))} is an artefact",
            remedy="leave that out, or give the checkpoint",
        )
    if artefact:
        run, batch, size = _shipped(model, threads)
    else:
        size = size or Size(224, 224)
        run, batch = _float32(str(model), size, registers, tuple(layers), tuple(heads), weights, config), 1
    return _each(run, batch, _fitted(frames, size, crop))


def _shipped(model: Path, threads: int | None) -> tuple[_Run, int, Size]:
    from edgec.verifying import load_runner

    opened = open_artefact(model)
    batch, height, width, _ = opened.manifest.input.shape
    return load_runner(opened, threads), batch, Size(height, width)


def _float32(
    checkpoint: str,
    size: Size,
    registers: bool,
    layers: tuple[int, ...],
    heads: tuple[str, ...],
    weights: str | None,
    config: str | None,
) -> _Run:
    from edgec import checkpoint as checkpoints
    from edgec.fidelity.reference import frame_features
    from edgec.heads import check_heads, layers_needed, read_heads
    from edgec.heads.reference import CameraModelWithHeads
    from edgec.model.camera import assemble

    read = checkpoints.read(checkpoint, weights=weights, config=config)
    fitted = read_heads(heads)
    needed = tuple(sorted({*layers, *layers_needed(fitted)}))
    check_heads(fitted, read.spec, size)
    model = assemble(read, size, folded=False, registers=registers, layers=needed)
    whole = CameraModelWithHeads(model, fitted, layers=layers) if fitted else model
    return lambda frames: frame_features(whole, frames[0])


def _fitted(frames: str | Path | Iterable[Pixels], size: Size, crop: Crop) -> Iterator[tuple[str, Pixels]]:
    if isinstance(frames, (str, Path)):
        for frame, pixels in framing.batches(framing.load(str(frames)).frames, size, crop):
            yield frame.name, pixels
        return
    for number, array in enumerate(frames):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
            raise RequestError(
                "A frame is not uint8 [H, W, 3].",
                evidence=f"frame {number} is {array.dtype} {list(array.shape)}",
                remedy="give RGB pixels from 0 to 255, one array a frame",
            )
        yield str(number), framing.fit(array, size, crop)


def _each(run: _Run, batch: int, frames: Iterator[tuple[str, Pixels]]) -> Iterator[FrameFeatures]:
    held: list[tuple[str, Pixels]] = []

    def done() -> Iterator[FrameFeatures]:
        outputs = run(filled([pixels for _, pixels in held], batch)) if held else {}
        for index, (name, pixels) in enumerate(held):
            yield FrameFeatures(name, pixels, {output: values[index] for output, values in outputs.items()})
        held.clear()

    for frame in frames:
        held.append(frame)
        if len(held) == batch:
            yield from done()
    yield from done()
