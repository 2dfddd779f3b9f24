"""The float32 model's features away from home: on frames of other places, and on the camera's ills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgec import frames as framing
from edgec.fidelity.elsewhere import Elsewhere
from edgec.fidelity.reference import read_reference, write_reference
from edgec.frames import Frame, Split
from edgec.frames.ills import ALIKE, ILLS, conditions
from edgec.frames.sampling import middles
from edgec.stages.base import Build, Hub, dump, identities, key_of, load
from edgec.stages.preparing import reference_model

HOME_FRAMES = 3
"""Validation frames that each of the camera's ills is made from. With the foreign frames that is as much work again as a full set
of validation frames; at 224x224 it makes 588 patches an ill, of which the first percentile is the sixth."""
FOREIGN_FRAMES = 12
_CONDITIONS = "conditions.json"


def compute_elsewhere(build: Build, hub: Hub, split: Split) -> Elsewhere | None:
    """At the default size; None if the artefact gives no features, which are all that is compared."""
    if not build.resolved.request.features:
        return None
    home = middles(split.validation, min(HOME_FRAMES, len(split.validation)))
    foreign = _foreign(build, split)

    def produce(directory: Path) -> None:
        pictures = [[picture for _, picture in framing.batches(each, hub.size)] for each in (home, foreign)]
        frames, names = conditions(*pictures)
        write_reference(reference_model(build, hub.size), frames, directory, step)
        dump(directory / _CONDITIONS, names)

    total = len(foreign) + sum(1 if name in ALIKE else len(home) for name in ILLS)
    with build.progress.stage("float32 reference elsewhere", total) as step:
        key = build.key(str(hub.size), identities(home), identities(foreign))
        modules = (
            "edgec.checkpoint",
            "edgec.frames.ills",
            "edgec.fidelity.reference",
            "edgec.frames",
            "edgec.heads.reference",
            "edgec.model.camera",
        )
        directory = build.stage("elsewhere", key, produce, modules=modules)
    reference = replace(read_reference(directory, hub.graph_outputs, hub.heads), key=key_of(directory)).only(hub.outputs)
    return Elsewhere(reference, tuple((name, count) for name, count in load(directory / _CONDITIONS)))


def _foreign(build: Build, split: Split) -> Sequence[Frame]:
    """Frames of other places, evenly over the set; none of them is one of the build's own frames."""
    own = {frame.digest for frame in (*build.resolved.frames.frames, *split.validation)}
    others = [frame for frame in build.resolved.foreign.frames if frame.digest not in own]
    return middles(others, min(FOREIGN_FRAMES, len(others)))
