"""Pixels between 0 and 1, so that the patch embedding can be fp16.

The hub graph's first convolution reads whole numbers up to 255, and its weights hold the pixels' normalisation: divided by 255
and the standard deviation they lie near fp16's subnormal numbers. A power of two moved from the pixels to the weights changes no
result, and both then fit: pixels exactly, weights with all their bits. Of the 1.5 MB that the embedding of a 224-pixel frame
moves in float32, fp16 saves 0.4 MB (TensorRT-RTX 1.7.1).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.values import add_constant, array_of, drop_unread, input_of, name_of
from edgec.lowering.tensorrt.names import FreeNames

SCALE = np.float32(2.0**-8)


class ScalePixels(Rewrite):
    """What the first convolution reads is multiplied by 2^-8 where it has become a float, and its weights by 2^8. A graph whose
    first convolution does not read a frame stays as it is. Ensures that no constant is left unread."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Moves the power of two, if the first convolution reads a frame."""
        embedding = next((node for node in model.graph if node.op_type == "Conv"), None)
        pixels = _pixels(embedding) if embedding is not None else None
        if embedding is None or pixels is None or not input_of(embedding, 1).is_initializer():
            return ir.passes.PassResult(model, modified=False)
        graph, free = model.graph, FreeNames(model.graph)
        name, weight = free.take(f"{pixels.name}.scaled"), input_of(embedding, 1)
        scaled = ir.val(name, pixels.dtype, pixels.shape)
        pixels.replace_all_uses_with(scaled)
        factor = add_constant(graph, free.take(f"{name}.factor"), SCALE)
        maker = pixels.producer()
        assert maker is not None
        maker.append(ir.node("Mul", [pixels, factor], outputs=[scaled], name=name))
        moved = add_constant(graph, free.take(f"{name_of(weight)}.scaled"), array_of(weight) / SCALE)
        embedding.replace_input_with(1, moved)
        drop_unread(graph)
        return ir.passes.PassResult(model, modified=True)

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Constants that nothing reads."""
        yield from unread(model.graph)


def _pixels(embedding: ir.Node) -> ir.Value | None:
    """The frame as floats, which the convolution reads through nothing but layout; None if it reads something else."""
    value = input_of(embedding)
    maker = value.producer()
    while maker is not None and maker.op_type in ("Transpose", "Reshape"):
        value = input_of(maker)
        maker = value.producer()
    cast = maker is not None and maker.op_type == "Cast" and input_of(maker).is_graph_input()
    return value if cast else None
