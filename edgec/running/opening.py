"""What a run needs before its first frame: an artefact that runs here, the size that it takes, and where results go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgec.artefact.reading import OpenArtefact
from edgec.errors import ArtefactError, RequestError, TargetError
from edgec.extras import require
from edgec.lowering import registry
from edgec.model.spec import Size
from edgec.records.evidence import Evidence
from edgec.records.manifest import SizeFacts
from edgec.records.reading import printable
from edgec.running.features import RESERVED, FeatureFile, FeatureFolder
from edgec.running.film import Film, require_encoder
from edgec.running.painting import Painter
from edgec.running.panels import panels_of, shown_classes
from edgec.running.pictures import PictureFolder
from edgec.running.request import RunRequest, is_archive, is_film
from edgec.running.sinks import Sink
from edgec.running.sources import Source

PICTURES_FPS = 10.0
"""The rate of a film that is made of pictures, which have none."""


@dataclass(frozen=True)
class Opened:
    """What a run is about to work with."""

    artefact: OpenArtefact
    size: SizeFacts
    source: Source
    total: int | None
    """How many frames the run will do; None if that is not known."""


def require_here(artefact: OpenArtefact, request: RunRequest) -> None:
    """Raises `TargetError` for an artefact that runs on other hardware."""
    manifest = artefact.manifest
    lowering = registry.get(manifest.runtime)
    if lowering.evidence is Evidence.HOST:
        return
    path = printable(str(request.artefact))
    remedies = {
        "tensorrt": f"edgec deploy {path} user@board brings it there; here: build for --target cpu",
        "coreml": f"edgec deploy {path} USER@MAC measures it on a Mac; here: build for --target cpu",
    }
    raise TargetError(
        f"The artefact is for {printable(manifest.target)}: it does not run on this machine.",
        evidence=f"{lowering.title} is only simulated here, far too slowly for a film, and its timings would mean nothing",
        remedy=remedies.get(manifest.runtime, "run it on its own hardware, or build for --target cpu"),
    )


def size_facts(artefact: OpenArtefact, requested: Size | None) -> SizeFacts:
    """The requested size of the artefact, or its default. Raises `RequestError`, which lists the sizes, if it does not have that
    one, and `ArtefactError` for a manifest that contradicts itself."""
    names = {output.name for output in artefact.manifest.outputs}
    lost = [name for head in artefact.manifest.heads for name in head.outputs if name not in names]
    if lost:
        raise ArtefactError(
            f"The manifest at {printable(str(artefact.directory))} contradicts itself.",
            evidence=f"heads have the output {printable(lost[0])}, outputs do not",
            remedy="it was edited or damaged: build again, or copy it again from where it is whole",
        )
    sizes = {Size(*each.facts.input.shape[1:3]): each.facts for each in artefact.sizes}
    if requested is None:
        return artefact.sizes[0].facts
    if requested not in sizes:
        raise RequestError(
            f"The artefact takes no frames of {requested}.",
            evidence=f"it takes {', '.join(map(str, sizes))}, and frames are fitted to that whatever size they have",
            remedy="leave --input-size out, or build for that size",
        )
    return sizes[requested]


def sinks_of(request: RunRequest, artefact: OpenArtefact, size: SizeFacts) -> list[Callable[[float], Sink]]:
    """Functions that make the run's sinks, given the film's rate. Raises `RequestError` and `TargetError` for what cannot be
    made, before the source is opened."""
    makers: list[Callable[[float], Sink]] = []
    manifest, features, output = artefact.manifest, request.features, request.output
    if features is not None:
        reserved = [each.name for each in size.outputs if each.name in RESERVED]
        if reserved:
            raise RequestError(
                f"An output of the artefact is called {printable(reserved[0])!r}, as an array of each features file is.",
                remedy="build with another name for that head",
            )
        sink = FeatureFile if is_archive(features) else FeatureFolder
        makers.append(lambda _: sink(features))
    if output is not None:
        require("pictures", f"Drawing {printable(str(output))}")
        height, width = size.input.shape[1:3]
        title = f"{manifest.checkpoint.name}, {manifest.precision} in {manifest.runtime}, {height}x{width}"
        panels, classes = panels_of(manifest, size, request.show), shown_classes(manifest, request.show)
        painter = Painter(panels, classes, height, width, printable(title))
        if is_film(output):
            require_encoder(output)
            makers.append(lambda rate: Film(output, painter, rate))
        else:
            makers.append(lambda _: PictureFolder(output, painter))
    return makers


def frames_to_come(source: Source, request: RunRequest) -> int | None:
    """How many frames the run will do; None if that is not known."""
    frames = None if source.total is None else -(-source.total // request.every)
    return min((each for each in (frames, request.limit) if each is not None), default=None)
