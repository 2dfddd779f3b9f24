"""An artefact's patch features next to those of the float32 PyTorch model, for its golden frames or any others; and the outputs
of its heads for the golden frames, float32's next to those that ship."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from edgec import checkpoint as checkpoints
from edgec import frames as framing
from edgec.artefact.reading import OpenArtefact
from edgec.checkpoint import Checkpoint, Identity
from edgec.errors import ArtefactError, CalibrationError, RequestError
from edgec.fidelity.reference import Reference, read_reference, write_reference
from edgec.frames import Skipped
from edgec.lowering.base import Frames
from edgec.model.spec import Size
from edgec.report.maps import Headed, headed
from edgec.report.pictures import Compared, Floats
from edgec.verifying import load_runner

PATCHES = "patches"
MOST = 6


def gives_features(artefact: OpenArtefact) -> bool:
    """Whether the artefact has patches that can be drawn. Built with `--no-features`, it has the outputs of heads only."""
    return any(output.name == PATCHES and len(output.shape) == 4 for output in artefact.manifest.outputs)


def golden_features(artefact: OpenArtefact) -> Compared:
    """The patches of the golden frames, as recorded when the artefact was built: nothing is run. Raises `ArtefactError` if it has
    no patches."""
    _require_patches(artefact)
    golden = artefact.golden
    return Compared(_names(artefact), golden.frames, golden.expected_float32[PATCHES], golden.expected_shipped[PATCHES])


def golden_heads(artefact: OpenArtefact) -> Headed | None:
    """The heads' outputs for the golden frames, as recorded when the artefact was built; None without heads. Raises
    `ArtefactError` if the manifest names a head that has no output."""
    manifest, golden = artefact.manifest, artefact.golden
    if not manifest.heads:
        return None
    missing = [name for head in manifest.heads for name in head.outputs if name not in golden.expected_shipped]
    if missing:
        raise ArtefactError(
            f"The artefact at {artefact.directory} names a head without an output.", evidence=f"missing: {', '.join(missing)}"
        )
    return headed(_names(artefact), golden.frames, manifest.heads, golden.expected_float32, golden.expected_shipped)


def _names(artefact: OpenArtefact) -> tuple[str, ...]:
    return tuple(f"golden frame {number}" for number in range(len(artefact.golden.frames)))


def features_on(
    artefact: OpenArtefact, frames: str, checkpoint: str, *, weights: str | None = None, config: str | None = None
) -> tuple[Compared, tuple[Skipped, ...]]:
    """Patches of up to six frames of a set, evenly spread, computed in the artefact's own runtime and, in float32, in PyTorch;
    and the frames that were damaged.

    `checkpoint` must be the one that the artefact was built from, by its SHA-256: `RequestError` otherwise. Raises
    `CalibrationError` for a set without usable frames, `TargetError` if the runtime is not installed.
    """
    _require_patches(artefact)
    manifest = artefact.manifest
    _require_same(artefact, checkpoint, checkpoints.identify(checkpoint, config=config))
    size = Size(*manifest.input.shape[1:3])
    frame_set = framing.load(frames)
    indices = np.linspace(0, len(frame_set.frames) - 1, min(MOST, len(frame_set.frames))).round().astype(int)
    skipped: list[Skipped] = []
    drawn = list(framing.batches([frame_set.frames[index] for index in indices], size, skipped=skipped))
    if not drawn:
        raise CalibrationError(
            f"None of the frames drawn from {frames} can be used.", evidence=[f"{name}: {reason}" for name, reason in skipped]
        )
    pixels = np.stack([picture for _, picture in drawn])
    names = tuple(frame.name for frame, _ in drawn)
    return Compared(
        names,
        pixels,
        _float32(pixels, size, checkpoints.read(checkpoint, weights=weights, config=config)),
        _shipped(artefact, pixels),
    ), tuple(skipped)


def _require_patches(artefact: OpenArtefact) -> None:
    if not gives_features(artefact):
        outputs = [output.name for output in artefact.manifest.outputs]
        raise ArtefactError(
            f"The artefact at {artefact.directory} gives no {PATCHES} to draw.", evidence=f"outputs: {', '.join(outputs)}"
        )


def _require_same(artefact: OpenArtefact, reference: str, identity: Identity) -> None:
    expected = artefact.manifest.checkpoint
    if identity.sha256 != expected.sha256:
        raise RequestError(
            f"{reference} is not the checkpoint that this artefact was built from.",
            evidence=(f"built from: {expected.name}, SHA-256 {expected.sha256}", f"given: SHA-256 {identity.sha256}"),
            remedy="give the checkpoint of the build, unchanged, with the files beside it",
        )


def _shipped(artefact: OpenArtefact, pixels: Frames) -> Floats:
    runner = load_runner(artefact)
    batches = Reference(pixels, {}).batches(artefact.manifest.input.shape[0])
    return np.concatenate([runner(np.ascontiguousarray(stack))[PATCHES][:real] for stack, _, real in batches])


def _float32(pixels: Frames, size: Size, checkpoint: Checkpoint) -> Floats:
    from edgec.model.camera import assemble

    model = assemble(checkpoint, size, folded=False)
    with tempfile.TemporaryDirectory() as folder:
        write_reference(model, list(pixels), Path(folder), lambda: None)
        return np.array(read_reference(Path(folder), (PATCHES,)).features[PATCHES])
