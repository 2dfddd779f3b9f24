"""Attention written the way NVIDIA's compiler needs fewest kernels for.

The hub graph rotates Q and K apart, each after its heads were split. TensorRT-RTX 1.7.1 (core 11.4) makes three kernels of that
(layout of V, rotation of K, rotation of Q), and a fourth which copies what attention gives into an equal layout. Written as one
rotation of Q, K and V side by side, with a cosine of one and a sine of zero for V, and with frames and heads in one axis, it
makes one kernel of it: 148 kernels become 112 for a ViT-S/16 in int8, 124 become 100 in fp16 (`python -m benchmarks kernels`).
The values are the same to the last bit but for V's, which gain a multiplication by one. Q, K and V stay products of their own:
one product for all three, split afterwards, makes that compiler unpack int8 weights for every frame.

In fp8 the products of attention multiply bytes, too: the kernel stays one (TensorRT-RTX 1.7.1, SM 89 and 120) and reads and
writes half as much. In int8 it would stay one as well, but a softmax over hundreds of tokens is made of small numbers, and the
smallest that int8 has of what goes up to 1 is 1/127. Simulated on a ViT-S/16 at 224 pixels, the worst percentile of patches falls
from .9998 to .948, or to .935 with the scale that suits each softmax best. E4M3 is a float, and keeps .998.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgec.graph.passes.base import Rewrite, unread
from edgec.graph.passes.quantise import pair
from edgec.graph.plan import CALIBRATED, Precision, PrecisionPlan, Range
from edgec.graph.values import add_constant, array_of, drop_unread, input_of, name_of, shape_of
from edgec.lowering.halves import product_of
from edgec.lowering.tensorrt.names import FreeNames
from edgec.precision.static import headroom


@dataclass(frozen=True)
class Attention:
    """One attention of the hub graph. `tokens` are what Q, K and V are before their heads are split, [N, T, D]; `rotated` what
    the products read, [N, heads, T, head width]; `cos` and `sin` hold [T, head width]."""

    scores: ir.Node
    softmax: ir.Node
    mix: ir.Node
    transposed: ir.Node
    """The Transpose of what the heads give, to [N, T, heads, head width]."""
    tokens: tuple[ir.Value, ir.Value, ir.Value]
    rotated: tuple[ir.Value, ir.Value, ir.Value]
    cos: NDArray[np.float32]
    sin: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, heads, T, head width."""
        shape = shape_of(self.rotated[0])
        assert shape is not None
        return shape[0], shape[1], shape[2], shape[3]


class JoinAttention(Rewrite):
    """Every attention in the hub graph's form becomes one joint rotation, and products over [N * heads, T, …]. One of whose
    products the plan keeps some in float32 stays as it is: there what Q and K hold may need another type than what V holds, and
    one rotation has one type.

    Requires static shapes. Ensures that no constant is left unread.
    """

    def __init__(self, plan: PrecisionPlan) -> None:
        super().__init__()
        self._plan = plan

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Joins every attention that may be, and removes what nothing reads any more."""
        attentions = [each for node in model.graph if node.op_type == "Softmax" and (each := read_attention(node)) is not None]
        joined = [each for each in attentions if self._in_one_type(each)]
        tables: dict[bytes, tuple[ir.Value, ir.Value]] = {}
        free = FreeNames(model.graph)
        for attention in joined:
            _join(attention, tables, free)
            if self._plan.precision_of(name_of(attention.scores)) in CALIBRATED:
                _quantise(attention, self._plan)
        RemoveUnusedNodesPass()(model)
        drop_unread(model.graph)
        return ir.passes.PassResult(model, modified=bool(joined))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Constants that nothing reads."""
        yield from unread(model.graph)

    def _in_one_type(self, attention: Attention) -> bool:
        nodes = [attention.scores, attention.mix, *(value.producer() for value in attention.tokens)]
        products = [product_of(node) for node in nodes if node is not None]
        wide = [product is None or self._plan.precision_of(name_of(product)) == "fp32" for product in products]
        return len(products) == 5 and (all(wide) or not any(wide))


def with_attention(hub: ir.Model, plan: PrecisionPlan, peaks: Mapping[str, float]) -> PrecisionPlan:
    """The plan with bytes for the products of every attention whose projection multiplies bytes, of the same type, and the ranges
    of what they read. `peaks` are the largest absolute values that calibration saw.

    Where the projection is fp16, what attention gives has to be fp16, and the kernel falls into its products (TensorRT-RTX 1.7.1,
    SM 89 and 120).
    """
    operations: dict[str, Precision] = {}
    ranges: dict[str, Range] = {}
    for softmax in (node for node in hub.graph if node.op_type == "Softmax"):
        attention = read_attention(softmax)
        projection = _projection(attention) if attention is not None else None
        precision = plan.precision_of(name_of(projection)) if projection is not None else plan.default
        if attention is None or precision not in CALIBRATED:
            continue
        products = name_of(attention.scores), name_of(attention.mix)
        if "fp32" in map(plan.precision_of, products):  # what they read could overflow the fp16 of the rotation before them
            continue
        operations |= dict.fromkeys(products, precision)
        for value in attention.rotated:
            peak = peaks[name_of(value)] * headroom(plan.activations)
            ranges[name_of(value)] = Range(-peak, peak)
        ranges[name_of(softmax.outputs[0])] = Range(0.0, 1.0)
    return replace(plan, operations={**plan.operations, **operations}, ranges={**plan.ranges, **ranges})


def _projection(attention: Attention) -> ir.Node | None:
    """The product that reads what the heads give, side by side again."""
    joined = _only_reader(attention.transposed.outputs[0], "Reshape")
    return _only_reader(joined.outputs[0], "MatMul") if joined is not None else None


def _quantise(attention: Attention, plan: PrecisionPlan) -> None:
    """Pairs on what both products of a joined attention read."""
    readers = (attention.scores, 0), (attention.scores, 1), (attention.mix, 1), (attention.mix, 0)
    tensors = (*attention.rotated, attention.softmax.outputs[0])
    for (reader, index), tensor in zip(readers, tensors, strict=True):
        reader.replace_input_with(index, pair(reader, index, plan.ranges[name_of(tensor)], plan.activations))


def read_attention(softmax: ir.Node) -> Attention | None:
    """The attention around a Softmax; None unless it has the form that the hub graph writes (`edgec.model.vit.Attention`)."""
    scores = _made_by(input_of(softmax), "MatMul")
    mix = _only_reader(softmax.outputs[0], "MatMul")
    transposed = _only_reader(mix.outputs[0], "Transpose") if mix is not None else None
    if scores is None or mix is None or transposed is None:
        return None
    flipped = _made_by(input_of(scores, 1), "Transpose")
    query, value = _rotation(input_of(scores)), _tokens(input_of(mix, 1))
    key = _rotation(input_of(flipped)) if flipped is not None and _permutation(flipped) == (0, 1, 3, 2) else None
    if query is None or key is None or value is None or not all(map(np.array_equal, query[1:], key[1:])):
        return None
    rotated = input_of(scores), input_of(flipped), input_of(mix, 1)  # type: ignore[arg-type] # there is one if there is a key
    return Attention(scores, softmax, mix, transposed, (query[0], key[0], value), rotated, query[1], query[2])


def _rotation(rotated: ir.Value) -> tuple[ir.Value, NDArray[np.float32], NDArray[np.float32]] | None:
    """Of x * cos + concat(-second half of x, first half of x) * sin: the tokens that x is made of, cosines and sines."""
    total = _made_by(rotated, "Add")
    parts = [_made_by(value, "Mul") for value in total.inputs] if total is not None else []
    if len(parts) != 2 or parts[0] is None or parts[1] is None:
        return None
    turned = _made_by(input_of(parts[1]), "Concat")
    negated = _made_by(input_of(turned), "Neg") if turned is not None and len(turned.inputs) == 2 else None
    x = input_of(parts[0])
    if turned is None or negated is None or not all(input_of(part, 1).is_initializer() for part in parts if part is not None):
        return None
    halves = (_slice_of(input_of(turned, 1), x), _slice_of(input_of(negated), x))
    tokens, width = _tokens(x), (shape_of(x) or (0,))[-1]
    if tokens is None or halves != ((0, width // 2), (width // 2, width)):
        return None
    cos, sin = (array_of(input_of(part, 1)).reshape(-1, width) for part in parts if part is not None)
    return tokens, cos, sin


def _slice_of(value: ir.Value, x: ir.Value) -> tuple[int, int] | None:
    """From where to where on the last axis of x, if the value is such a slice of it."""
    node, shape = _made_by(value, "Slice"), shape_of(x)
    if node is None or node.inputs[0] is not x or shape is None or len(node.inputs) < 4:
        return None
    if not all(constant is not None and constant.is_initializer() for constant in node.inputs[1:]):
        return None
    start, end, axis, *step = (array_of(input_of(node, index)).reshape(-1) for index in range(1, len(node.inputs)))
    if axis.tolist() not in ([len(shape) - 1], [-1]) or any(each.tolist() != [1] for each in step):
        return None
    low, high, _ = slice(int(start[0]), int(end[0])).indices(shape[-1])
    return low, high


def _tokens(value: ir.Value) -> ir.Value | None:
    """[N, T, D], if the value is that with its heads split: [N, heads, T, head width]."""
    transposed = _made_by(value, "Transpose")
    split = (
        _made_by(input_of(transposed), "Reshape") if transposed is not None and _permutation(transposed) == (0, 2, 1, 3) else None
    )
    return input_of(split) if split is not None and len(shape_of(input_of(split)) or ()) == 3 else None


def _made_by(value: ir.Value | None, kind: str) -> ir.Node | None:
    """The node that makes the value, if it is of this kind."""
    maker = value.producer() if value is not None else None
    return maker if maker is not None and maker.op_type == kind else None


def _only_reader(value: ir.Value, kind: str) -> ir.Node | None:
    """The node that reads the value, if there is one alone and it is of this kind."""
    readers = [use.node for use in value.uses()]
    return readers[0] if len(readers) == 1 and readers[0].op_type == kind and not value.is_graph_output() else None


def _permutation(node: ir.Node) -> tuple[int, ...]:
    return tuple(node.attributes.get_ints("perm", ()))


class _Writer:
    """Puts nodes in front of one node, and constants into its graph, with names that begin alike."""

    def __init__(self, before: ir.Node, prefix: str, kind: ir.DataType | None, free: FreeNames) -> None:
        assert before.graph is not None
        self._before, self._prefix, self._kind, self._free, self._graph = before, prefix, kind, free, before.graph

    def node(self, kind: str, name: str, inputs: Sequence[ir.Value], shape: Sequence[int], **attributes: Any) -> ir.Value:
        output = ir.val(self._free.take(f"{self._prefix}.{name}"), self._kind, ir.Shape(shape))
        self._before.prepend(ir.node(kind, inputs, attributes, outputs=[output], name=output.name))
        return output

    def reshape(self, name: str, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        return self.node("Reshape", name, [value, self.constant(f"{name}.shape", np.array(shape, np.int64))], shape)

    def slice(self, name: str, value: ir.Value, start: int, end: int) -> ir.Value:
        """On the last axis."""
        sides = shape_of(value)
        assert sides is not None
        places = (("start", start), ("end", end), ("axis", len(sides) - 1))
        bounds = [self.constant(f"{name}.{place}", np.array([number], np.int64)) for place, number in places]
        return self.node("Slice", name, [value, *bounds], (*sides[:-1], end - start))

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        return add_constant(self._graph, self._free.take(f"{self._prefix}.{name}"), array)


def _join(attention: Attention, tables: dict[bytes, tuple[ir.Value, ir.Value]], free: FreeNames) -> None:
    """In front of the attention's first product, and behind its second. What nothing reads any more stays in the graph."""
    scores, softmax, mix = attention.scores, attention.softmax, attention.mix
    batch, heads, tokens, width = attention.shape
    prefix, kind = name_of(scores).rpartition(".")[0], input_of(scores).dtype
    write = _Writer(scores, f"{prefix}.joint", kind, free)
    key = attention.cos.tobytes() + attention.sin.tobytes()
    if key not in tables:
        cosines, sines = _tables(attention)
        tables[key] = write.constant("cos", cosines), write.constant("sin", sines)
    cos, sin = tables[key]

    sides = (batch, tokens, 3, heads, width)
    side_by_side = write.node("Concat", "concat", attention.tokens, (batch, tokens, 3 * heads * width), axis=-1)
    split = write.reshape("heads", side_by_side, sides)
    halves = [write.slice("second", split, width // 2, width), write.slice("first", split, 0, width // 2)]
    turned = write.node("Concat", "turned", halves, sides, axis=-1)
    parts = write.node("Mul", "times_cos", [split, cos], sides), write.node("Mul", "times_sin", [turned, sin], sides)
    rotated = write.node("Add", "rotated", parts, sides)
    apart = write.node("Transpose", "apart", [rotated], (3, batch, heads, tokens, width), perm=[2, 0, 3, 1, 4])
    flat = write.reshape("flat", apart, (3, batch * heads, tokens, width))
    query, keys, values = (
        write.node(
            "Gather", name, [flat, write.constant(f"{name}.index", np.array(index))], (batch * heads, tokens, width), axis=0
        )
        for index, name in enumerate(("q", "k", "v"))
    )
    flipped = write.node("Transpose", "k.transposed", [keys], (batch * heads, width, tokens), perm=[0, 2, 1])

    scores.replace_input_with(0, query)
    scores.replace_input_with(1, flipped)
    mix.replace_input_with(1, values)
    for node, last in ((scores, tokens), (softmax, tokens), (mix, width)):
        node.outputs[0].shape = ir.Shape((batch * heads, tokens, last))
    transposed = attention.transposed
    if batch == 1:
        # With no Reshape between product and Transpose, the compiler writes what the product gives in its last layout.
        transposed.attributes["perm"] = ir.AttrInt64s("perm", [1, 0, 2])
        transposed.outputs[0].shape = ir.Shape((tokens, heads, width))
    else:
        behind = _Writer(transposed, f"{prefix}.joint", kind, free)
        transposed.replace_input_with(0, behind.reshape("mixed", mix.outputs[0], (batch, heads, tokens, width)))


def _tables(attention: Attention) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and signed sines for Q, K and V, each float32 [1, T, 3, 1, head width]. V is not rotated."""
    half = attention.sin.shape[1] // 2
    signed = np.concatenate([-attention.sin[:, :half], attention.sin[:, half:]], axis=1)
    cos = np.stack([attention.cos, attention.cos, np.ones_like(attention.cos)], axis=1)
    sin = np.stack([signed, signed, np.zeros_like(signed)], axis=1)
    return cos[None, :, :, None], sin[None, :, :, None]
