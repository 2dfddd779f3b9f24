"""Labels of pixels, chosen in the kernel that upsamples the scores.

A segmentation head upsamples its scores and takes each pixel's best class. TensorRT-RTX 1.7.1 gives ArgMax a kernel of its own,
which fuses with nothing: in between lie the scores of every pixel in float32, written once and read once (60 MB a frame for 150
classes at 224 pixels, as much as an int8 ViT-S/16 itself; 8 MB for 21). Written as a comparison with the largest score, with
the classes in the last axis, the choice becomes one kernel with the upsampling, which reads the patches' scores alone: a head's
four kernels become two, and 61.3 MB become 0.6. With the classes in the second axis upsampling and choice stay apart, and the
scores are read twice. The labels are the same, the first of equal scores included; the scores are compared in float32 as
before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.values import add_constant, array_of, drop_unread, input_of, name_of, shape_of, uses
from edgec.lowering.tensorrt.names import FreeNames

LAST = (0, 2, 3, 1)
"""The permutation that takes [N, C, H, W] to [N, H, W, C]."""
MOST = 1 << 24
"""How many classes float32 can count."""


@dataclass(frozen=True)
class Choice:
    """One choice of a class. `resize` upsamples scores [N, C, rows, columns]; `cast` is what makes the classes' numbers int32, if
    anything does."""

    resize: ir.Node
    argmax: ir.Node
    cast: ir.Node


class ChooseByComparing(Rewrite):
    """Every ArgMax over the classes of scores that a linear Resize made, and whose result is wanted as int32, becomes a
    comparison with the largest score. The values do not change. Ensures that no constant is left unread."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites every choice that has the form."""
        choices = [choice for node in model.graph if node.op_type == "ArgMax" and (choice := read_choice(node)) is not None]
        free = FreeNames(model.graph)
        for choice in choices:
            _compare(model, choice, free)
        drop_unread(model.graph)
        return ir.passes.PassResult(model, modified=bool(choices))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Constants that nothing reads."""
        yield from unread(model.graph)


def read_choice(argmax: ir.Node) -> Choice | None:
    """The choice that ends in this ArgMax; None unless it has the form that heads write (`edgec.heads.kinds.module`)."""
    scores, numbers = input_of(argmax), argmax.outputs[0]
    shape, resize = shape_of(scores), scores.producer()
    if shape is None or len(shape) != 4 or not shape[1] < MOST or resize is None or resize.op_type != "Resize":
        return None
    if argmax.attributes.get_int("axis", 0) % 4 != 1 or argmax.attributes.get_int("select_last_index", 0) != 0:
        return None
    readers = [use.node for use in numbers.uses()]
    cast = readers[0] if uses(scores) == uses(numbers) == len(readers) == 1 else None
    if cast is None or cast.op_type != "Cast" or cast.outputs[0].dtype != ir.DataType.INT32:
        return None
    return Choice(resize, argmax, cast) if _interpolates(resize, shape) else None


def _interpolates(resize: ir.Node, shape: Sequence[int]) -> bool:
    """Whether it is linear, by constant scales or sizes of all four axes, and leaves frames and classes as they are."""
    before = shape_of(input_of(resize))
    constants = [value for value in resize.inputs[1:] if value is not None]
    return (
        resize.attributes.get_string("mode", "nearest") == "linear"
        and "axes" not in resize.attributes
        and not resize.attributes.get_int("antialias", 0)
        and before is not None
        and before[:2] == tuple(shape[:2])
        and all(value.is_initializer() and array_of(value).size in (0, 4) for value in constants)
    )


def _compare(model: ir.Model, choice: Choice, free: FreeNames) -> None:
    graph, resize, argmax, cast = model.graph, choice.resize, choice.argmax, choice.cast
    stem, kind = name_of(argmax), input_of(resize).dtype
    before, shape = shape_of(input_of(resize)), shape_of(resize.outputs[0])
    assert before is not None
    assert shape is not None
    sides, classes = [shape[axis] for axis in LAST], shape[1]
    keeps = bool(argmax.attributes.get_int("keepdims", 1))

    def node(
        op: str, name: str, inputs: Sequence[ir.Value], sides: Sequence[int], before: ir.Node = argmax, **attributes: Any
    ) -> ir.Value:
        output = ir.val(free.take(f"{stem}.{name}"), kind, ir.Shape(sides))
        before.prepend(ir.node(op, inputs, attributes, outputs=[output], name=output.name))
        return output

    def constant(name: str, array: Any) -> ir.Value:
        return add_constant(graph, free.take(f"{stem}.{name}"), array)

    def largest(name: str, value: ir.Value, sides: Sequence[int], *, keepdims: int) -> ir.Value:
        # From opset 18 on, a reduction's axes are an input.
        if graph.opset_imports[""] < 18:
            return node("ReduceMax", name, [value], sides, axes=[3], keepdims=keepdims)
        axes = constant(f"{name}.axes", np.array([3], np.int64))
        return node("ReduceMax", name, [value, axes], sides, keepdims=keepdims)

    last = node("Transpose", "classes_last", [input_of(resize)], [before[axis] for axis in LAST], resize, perm=list(LAST))
    resize.replace_input_with(0, last)
    for index, numbers in enumerate(resize.inputs):
        if index and numbers is not None and array_of(numbers).size:  # scales or sizes, in the axes' new order
            moved = constant(f"resize{index}", array_of(numbers)[list(LAST)])
            resize.replace_input_with(index, moved)
    scores = resize.outputs[0]
    scores.shape = ir.Shape(sides)
    best = largest("largest", scores, [*sides[:3], 1], keepdims=1)
    less = node("Less", "less", [scores, best], sides)
    less.type = ir.TensorType(ir.DataType.BOOL)
    # The first class of several with the largest score has the largest number here.
    ranks = constant("ranks", np.arange(classes, 0, -1, dtype=np.float32))
    none, count = constant("none", np.float32(0)), constant("count", np.float32(classes))
    places = node("Where", "places", [less, none, ranks], sides)
    first = largest("first", places, sides[:3], keepdims=0)
    label = node("Sub", "label", [count, first], sides[:3])
    if keeps:
        label = node("Unsqueeze", "kept", [label, constant("kept.axis", np.array([1], np.int64))], [sides[0], 1, *sides[1:3]])
    cast.replace_input_with(0, label)
    graph.remove(argmax, safe=True)
