"""Whether calibration frames cover what a checkpoint sees in the validation frames: `edgec calibration lint --checkpoint`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgec import checkpoint as checkpoints
from edgec.errors import CalibrationError
from edgec.fidelity.coverage import draw_features, findings, measure_coverage
from edgec.frames import FrameSet, Pixels, batches, split
from edgec.frames.lint import LintFinding
from edgec.model.spec import Size


def check_coverage(
    checkpoint: str,
    frameset: FrameSet,
    size: Size,
    *,
    weights: str | None = None,
    config: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[LintFinding, ...]:
    """Compare the frames that a build for this checkpoint and size would calibrate on with those that it would judge by. No
    findings for a set that no build could split. `weights` and `config` are as in `edgec.checkpoint.read`; `progress` is called
    with the number of frames done.

    Raises what reading a checkpoint raises, and `InputSizeError` for a size that the model does not take.
    """
    from edgec.fidelity.reference import frame_features
    from edgec.model.camera import assemble

    model = assemble(checkpoints.read(checkpoint, weights=weights, config=config), size, folded=False)
    try:
        parts = split(frameset)
    except CalibrationError:
        return ()
    done = 0

    def counted(frames: Iterator[Pixels]) -> Iterator[Pixels]:
        nonlocal done
        for frame in frames:
            yield frame
            done += 1
            if progress is not None:
                progress(done)

    sides = [
        draw_features(lambda frame: frame_features(model, frame), counted(picture for _, picture in batches(side, size)))
        for side in (parts.calibration, parts.validation)
    ]
    (known, cls), (judged, _) = sides
    return findings(measure_coverage(known, judged, cls), [frame.name for frame in parts.validation])
