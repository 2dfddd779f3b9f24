"""A graph's form for what gives float32 planes instead of a camera's bytes."""

from __future__ import annotations

from pathlib import Path


def in_planes(path: Path) -> bytes | None:
    """The ONNX graph in the file, with float32 [N, 3, H, W], 0 to 255, for its input, which is uint8 [N, H, W, 3].

    A transposition takes the place of the cast to float32. All values are whole numbers: the outputs are the same. None for a
    graph that does not begin with such a cast.
    """
    import onnx
    from onnx import TensorProto, helper

    proto = onnx.load(path)
    (frames,) = proto.graph.input
    users = [node for node in proto.graph.node if frames.name in node.input]
    if len(users) != 1 or users[0].op_type != "Cast" or users[0].attribute[0].i != TensorProto.FLOAT:
        return None
    batch, height, width, channels = (side.dim_value for side in frames.type.tensor_type.shape.dim)
    (cast,) = users
    cast.CopyFrom(helper.make_node("Transpose", [frames.name], list(cast.output), cast.name, perm=[0, 2, 3, 1]))
    frames.CopyFrom(helper.make_tensor_value_info(frames.name, TensorProto.FLOAT, [batch, channels, height, width]))
    content: bytes = proto.SerializeToString(deterministic=True)
    return content
