"""A graph's form for nodes that give float32 planes: Isaac ROS's, whose tensors are float32 [1, 3, H, W], and cannot be uint8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from edgec import extras
from edgec.artefact.reading import OpenArtefact
from edgec.code.golden import Array
from edgec.code.model import Model, is_legal
from edgec.errors import RequestError

PATH = "model/float32-nchw.onnx"


def in_planes(artefact: OpenArtefact, model: Model) -> tuple[Model, Array]:
    """The model with another graph, and that graph: its input is float32 [1, 3, H, W], 0 to 255, and a transposition takes the
    place of the cast that turned uint8 [1, H, W, 3] into float32. All values are whole numbers: the outputs are the same.

    Raises `MissingPackage` without ONNX, and `RequestError` for batches, or a graph that does not begin with that cast.
    """
    extras.require("build", "Another form of the graph")
    import onnx
    from onnx import TensorProto, helper

    proto = onnx.load(artefact.directory / model.entry)
    (frames,) = proto.graph.input
    users = [node for node in proto.graph.node if frames.name in node.input]
    shape = artefact.sizes[0].facts.input.shape
    casts = [node for node in users if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT]
    if shape[0] != 1 or len(users) != 1 or casts != users:
        raise RequestError(
            "This graph has no form with float32 planes.",
            evidence=f"frames are {shape}, and used by {', '.join(node.op_type for node in users) or 'nothing'}",
            remedy="build the artefact again, for one frame at a time",
        )
    (cast,) = casts
    turned = helper.make_node("Transpose", [frames.name], list(cast.output), cast.name, perm=[0, 2, 3, 1])
    cast.CopyFrom(turned)
    planes = [shape[0], shape[3], *shape[1:3]]
    frames.CopyFrom(helper.make_tensor_value_info(frames.name, TensorProto.FLOAT, planes))
    legal = tuple(file for file in model.files if is_legal(PurePosixPath(file.path)))
    return replace(model, entry=PATH, files=legal, engine=None), Array(PATH, proto.SerializeToString(deterministic=True))
