"""What an artefact records about itself: shape and meaning of its input and outputs, and golden frames with what it computes of
them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, golden_path, write_golden
from edgec.artefact.operations import write_operations
from edgec.fidelity.metrics import Features
from edgec.fidelity.reference import Reference
from edgec.lowering.base import Runner
from edgec.lowering.sizes import function_name
from edgec.model.spec import Size
from edgec.onboard.tolerances import TOLERANCES
from edgec.records.fidelity import HeadFacts, Output
from edgec.records.manifest import Golden, SizeFacts, Tensor

GOLDEN_FRAMES = 4
MEANINGS = {
    "cls": "the image's CLS token, normalised",
    "patches": "one feature vector a patch, an image-shaped grid, normalised",
    "registers": "the register tokens, normalised",
}
HEAD_MEANINGS: dict[Output, str] = {
    "scores": "a score a class, of the whole frame, before any softmax",
    "labels": "a class's number for every pixel of the frame",
    "logits": "a score a class for every pixel of the frame, before any softmax",
    "depth": "a depth for every pixel of the frame, in the unit that the head was trained in",
    "values": "what the head computes of the features",
}
_SHOWN_CLASSES = 8


def record_sizes(
    directory: Path, references: Sequence[Reference], runner: Runner, batch: int, precision: str
) -> tuple[SizeFacts, ...]:
    """Write the golden frames of each size into an artefact that is being written; returns what the manifest says about them. The
    default size's lie directly in `golden/`; each other size has a folder there."""
    tolerance, cosine = TOLERANCES[precision]
    sizes = []
    for reference in references:
        size = size_of(reference)
        folder = "" if reference is references[0] else str(size)
        outputs = _write_golden(directory, reference, runner, batch, folder)
        golden = Golden(
            frames=golden_path(FRAMES, folder),
            expected_float32=golden_path(EXPECTED_FLOAT32, folder),
            expected_shipped=golden_path(EXPECTED_SHIPPED, folder),
            count=golden_count(reference),
            relative_tolerance=tolerance,
            min_cosine=cosine,
        )
        facts = SizeFacts(function=function_name(size), input=input_of(reference, batch), outputs=outputs, golden=golden)
        sizes.append(facts)
    return tuple(sizes)


def golden_count(reference: Reference) -> int:
    """How many of the reference's frames become golden ones."""
    return min(GOLDEN_FRAMES, len(reference.frames))


def size_of(reference: Reference) -> Size:
    """The size of the reference's frames."""
    return Size(*reference.frames.shape[1:3])


def input_of(reference: Reference, batch: int) -> Tensor:
    """The artefact's input: uint8 [batch, H, W, 3]."""
    return Tensor(
        name="frames",
        dtype="uint8",
        shape=(batch, *reference.frames.shape[1:3], 3),
        meaning="camera frames, NHWC, RGB, 0..255; normalisation is inside the model",
    )


def meanings(reference: Reference) -> dict[str, str]:
    """What each output means, in words, by name."""
    heads = _by_output(reference)
    return {name: _meaning(name, heads.get(name)) for name in reference.outputs}


def _write_golden(directory: Path, reference: Reference, runner: Runner, batch: int, folder: str) -> tuple[Tensor, ...]:
    """Frames spread over the validation set, with what PyTorch and what the artefact compute of them; returns the outputs."""
    count = golden_count(reference)
    chosen = np.linspace(0, len(reference.frames) - 1, count).round().astype(int)
    frames = np.ascontiguousarray(reference.frames[chosen])
    golden = Reference(frames, {name: array[chosen] for name, array in reference.features.items()}, reference.heads)
    shipped = run_golden(runner, golden, batch)
    write_golden(directory, frames, golden.features, shipped, folder=folder)
    write_operations(directory, runner, frames, batch, folder=folder)
    heads, meaning_of = _by_output(reference), meanings(reference)
    return tuple(
        Tensor(
            name=name,
            dtype=value.dtype.name,
            shape=(batch, *value.shape[1:]),
            meaning=meaning_of[name],
            role=heads[name].output if name in heads else "features",
        )
        for name, value in shipped.items()
    )


def run_golden(runner: Runner, golden: Reference, batch: int) -> Features:
    """Run all frames of `golden`; outputs [M, …] by name. If the last batch is not full it repeats its last frame."""
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in golden.outputs}
    for stack, _, real in golden.batches(batch):
        for name, value in runner(stack).items():
            parts[name].append(value[:real])
    return {name: np.concatenate(values) for name, values in parts.items()}


def _by_output(reference: Reference) -> dict[str, HeadFacts]:
    return {name: head for head in reference.heads for name in head.outputs}


def _meaning(name: str, head: HeadFacts | None) -> str:
    if head is None:
        return MEANINGS.get(name) or f"as patches, after block {name.removeprefix('patches_')}"
    shown = head.classes[:_SHOWN_CLASSES]
    more = ", …" if len(head.classes) > len(shown) else ""
    return f"{HEAD_MEANINGS[head.output]}{': ' if shown else ''}{', '.join(shown)}{more}"
