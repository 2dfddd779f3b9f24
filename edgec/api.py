"""What `import edgec` provides: the command line's work as functions. Each imports what it needs when it is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgec.extras import named

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from edgec.artefact.reading import OpenArtefact
    from edgec.benchmarking import BenchResult
    from edgec.building import BuildResult
    from edgec.featuring import FrameFeatures
    from edgec.frames import Crop, Pixels
    from edgec.model.spec import Size
    from edgec.progress import Progress
    from edgec.report.compare.verdicts import Comparison
    from edgec.request import BuildOptions, BuildRequest
    from edgec.verifying import VerifyResult


@named()
def build(
    checkpoint: str | Path | BuildRequest, *, progress: Progress | None = None, **options: Unpack[BuildOptions]
) -> BuildResult:
    """Build an artefact, as `edgec build` does.

    `checkpoint` is what the command line takes (a file, a folder, `demo`, `random:vits16`), or a whole `edgec.BuildRequest`;
    `options` are a `BuildRequest`'s fields by name: `target="jetson"`, `calibration="frames/"`, `size=edgec.Size(448, 448)`,
    `heads=("floor=floor.toml",)`, `output=Path("out.edgec")`. `progress` is told how far the build is.

    Raises `TypeError` for an unknown option, and `edgec.EdgecError` (what, evidence, remedy); nothing is written then.
    """
    from edgec.building import build
    from edgec.request import BuildRequest

    if isinstance(checkpoint, BuildRequest):
        return build(replace(checkpoint, **options), progress)
    return build(BuildRequest(str(checkpoint), **options), progress)


@named()
def features(
    model: str | Path,
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
    """The features of frames, one `edgec.FrameFeatures` a frame: what a head is fitted on.

    `model` is a checkpoint, as `build` takes it, whose float32 PyTorch model runs; or an artefact, which runs in its runtime with
    `threads` and has its own size and outputs. `frames` are a set, as `--calibration` takes it (a folder, a video, …), or arrays,
    uint8 [H, W, 3], RGB. Frames are fitted to `size`, for a checkpoint 224x224 by default: `crop` covers it and cuts the rest off
    (`centre`), stretches (`resize`) or letterboxes (`pad`). For a checkpoint, `registers` and `layers` add outputs, `heads`, each
    NAME=PATH, add what they give in float32, and `weights` and `config` are as in `build`. Memory holds one batch.

    Raises `edgec.EdgecError`: `RequestError` for what an artefact cannot be asked, and what reading raises. Errors of single
    frames are raised when they are reached.
    """
    from edgec.featuring import features

    return features(
        Path(model),
        frames,
        size=size,
        crop=crop,
        registers=registers,
        layers=layers,
        heads=heads,
        weights=weights,
        config=config,
        threads=threads,
    )


@named()
def open_artefact(path: str | Path, *, check_hashes: bool = True) -> OpenArtefact:
    """An artefact's manifest and golden frames, with every file's hash checked. Raises `edgec.ArtefactError` if it is damaged."""
    from edgec.artefact.reading import open_artefact

    return open_artefact(Path(path), check_hashes=check_hashes)


@named()
def verify(path: str | Path, *, threads: int | None = None, min_fidelity: float | None = None) -> VerifyResult:
    """Run an artefact's golden frames and compare, as `edgec verify` does. Raises `edgec.VerificationError` if it computes
    something else than was recorded, and what `open_artefact` raises."""
    from edgec.verifying import verify

    return verify(Path(path), threads=threads, min_fidelity=min_fidelity)


@named()
def bench(path: str | Path, *, threads: int | None = None, iterations: int | None = None) -> BenchResult:
    """Measure an artefact on this machine, as `edgec bench` does: latencies in ms, cold start, memory in bytes, and reasons to
    doubt them. Raises `edgec.TargetError` if it does not run here."""
    from edgec.benchmarking import bench

    return bench(Path(path), threads=threads, iterations=iterations)


@named()
def compare(first: str | Path, *others: str | Path, anyway: bool = False) -> Sequence[Comparison]:
    """Compare reports, artefacts or folders of reports with the first of them, as `edgec compare` does: one result for each of
    `others`. Raises `edgec.RequestError` if they were not measured under the same conditions, unless `anyway`."""
    from edgec.report.compare.conditions import require_comparable
    from edgec.report.compare.opening import open_side
    from edgec.report.compare.verdicts import compare

    sides = [open_side(Path(path)) for path in (first, *others)]
    if not anyway:
        require_comparable(sides)
    return [compare(sides[0], side) for side in sides[1:]]
