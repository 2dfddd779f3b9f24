"""A model in another form, for Isaac ROS's nodes, whose tensors are float32 [1, 3, H, W], and cannot be uint8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from edgec import extras
from edgec.artefact.reading import OpenArtefact
from edgec.code.golden import Array
from edgec.code.model import Model, is_legal
from edgec.errors import RequestError

PATH = "model/float32-nchw.onnx"


def with_planes(artefact: OpenArtefact, model: Model) -> tuple[Model, Array]:
    """The model with another graph, and that graph: see `edgec.graph.planes`.

    Raises `MissingPackage` without ONNX, and `RequestError` for batches, or a graph that has no such form.
    """
    extras.require("build", "Another form of the graph")
    from edgec.graph.planes import in_planes

    shape = artefact.sizes[0].facts.input.shape
    content = in_planes(artefact.directory / model.entry) if shape[0] == 1 else None
    if content is None:
        raise RequestError(
            "This graph has no form with float32 planes.",
            evidence=f"frames are {shape}, and must be one at a time, and cast to float32 first",
            remedy="build the artefact again, for one frame at a time",
        )
    legal = tuple(file for file in model.files if is_legal(PurePosixPath(file.path)))
    return replace(model, entry=PATH, files=legal, engine=None), Array(PATH, content)
