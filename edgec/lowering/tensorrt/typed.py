"""The type of every node, and the strongly typed graph that says so with Casts.

Where things run, and why:

- *float32*: the patch embedding, whose weights hold the pixels' normalisation and lie near fp16's subnormal numbers; LayerNorm
  and Softmax; the pooled CLS of a ConvNeXt; what the caller gets.
- *The residual stream is float32.* The massive activations of a DINO model live there, no calibration bounds them for the frames
  of tomorrow, and in fp16 one beyond 65504 makes every feature NaN. Adding and normalising are one pass over memory, so it costs
  two more bytes an element of the narrowest tensors of a block. fp16 would not lose much there, only break: on ViT-S/16,
  simulated, 1 - cosine of the patches is 1.7e-7 on average against 1.0e-7.
- *int8 products* read Q/DQ pairs and are float32 on paper, bias included: in opset 17 QuantizeLinear takes and DequantizeLinear
  gives float32 alone, and a Cast between DequantizeLinear and the product hides the pair from TensorRT's fusion (NVIDIA's Model
  Optimizer folds such casts away for that reason: `fold_dq_fp32_to_fp16_casts`). The product itself multiplies bytes.
- *fp16*: all other products with their biases, RoPE, the attention's two products with no Q/DQ between them, depthwise
  convolutions.
- *What lies between* (layout, activation functions) is float32 only where everything before and behind it is: between two int8
  products nothing is cast and TensorRT can put it into the first one's epilogue.
- *Heads* (`edgec.heads`) follow the plan's default and change nothing in the backbone's types. What they add up is no residual
  stream: what could overflow in them, calibration has seen. Behind a head's last product everything is float32: in fp16
  neighbouring scores become equal before a label is chosen, and a map that is upsampled in fp16 to be handed over in float32 goes
  through the memory twice. So is what a constant in fp16 would spoil, an epsilon. Whole numbers stay what they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgec.errors import ExportError
from edgec.graph.operations import PRODUCTS, constants, is_of_a_head
from edgec.graph.plan import PrecisionPlan
from edgec.lowering.halves import constant_problem, to_half
from edgec.lowering.tensorrt.view import FreeNames

ALWAYS_FLOAT32 = (
    *("LayerNormalization", "InstanceNormalization", "Softmax", "LogSoftmax", "QuantizeLinear", "DequantizeLinear", "Cast"),
    *("ReduceMean", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
    *("CumSum", "GlobalAveragePool", "ArgMax", "ArgMin", "TopK"),
)
MOVES = (
    *("Reshape", "Transpose", "Slice", "Concat", "Gather", "Neg", "Identity"),
    *("Squeeze", "Unsqueeze", "Flatten", "Split", "Tile", "DepthToSpace", "SpaceToDepth", "Relu", "MaxPool"),
)
"""They round nothing."""
OF_FLOAT32 = {"Resize": (1, 2)}
"""By operator, inputs that are float32 whatever it computes in: regions and scales."""

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True)
class Types:
    """Names of nodes: `half` compute in fp16, `int8` are products of bytes; all others are float32. `free` are those whose type
    follows from their neighbours."""

    half: frozenset[str]
    int8: frozenset[str]
    free: frozenset[str]
    unfit: Mapping[str, str]
    """Of nodes whose type would have followed, those that are float32 because a constant does not fit fp16, and why."""


def assign_types(model: onnx.ModelProto, plan: PrecisionPlan) -> Types:
    """For a hub graph with the plan's Q/DQ pairs in it. Of the plan only its default and its exceptions are read."""
    nodes = list(model.graph.node)
    makers = {output: node for node in nodes for output in node.output}
    fixed: dict[str, bool] = {}
    int8 = frozenset(
        node.name
        for node in nodes
        if node.op_type in PRODUCTS and node.input[0] in makers and makers[node.input[0]].op_type == "DequantizeLinear"
    )
    embedding = next((node.name for node in nodes if node.op_type == "Conv"), "")
    residual = _residual_adds(nodes)
    products = {node.output[0]: node.name for node in nodes if node.op_type in PRODUCTS}
    values = constants(model)
    for node in nodes:
        if node.op_type in ALWAYS_FLOAT32 or node.name in residual or node.name == embedding:
            fixed[node.name] = False
        elif node.op_type in PRODUCTS:
            fixed[node.name] = node.name not in int8 and plan.precision_of(node.name) == "fp16"
        elif node.op_type == "Add" and node.input[1] in values and node.input[0] in products:
            fixed[node.name] = fixed[products[node.input[0]]]
    unfit = _unfit(nodes, fixed, values) if any(fixed.values()) else {}
    fixed |= dict.fromkeys(unfit, False)
    before = _reached(nodes, fixed, {output: [node] for node in nodes for output in node.output})
    behind = _reached(list(reversed(nodes)), fixed, _readers(nodes), forward=False)
    half = {name for name, is_half in fixed.items() if is_half}
    free = [node for node in nodes if node.name not in fixed]
    for node in free:
        anchors = behind[node.name] if is_of_a_head(node) else before[node.name] | behind[node.name]
        if any(fixed[anchor] for anchor in anchors):
            half.add(node.name)
    return Types(frozenset(half), int8, frozenset(node.name for node in free), unfit)


def cast_graph(model: onnx.ModelProto, types: Types) -> onnx.ModelProto:
    """A new model in which every node reads its own type: constants are converted, everything else passes a Cast, one a tensor
    and type. Outputs of the graph are float32, or what they were if that is no float."""
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    graph = typed.graph
    values = constants(typed)
    shapes = {value.name: value for value in (*graph.input, *graph.output, *graph.value_info)}
    told = {name: value.type.tensor_type.elem_type for name, value in shapes.items()}
    kinds = {value.name: told[value.name] for value in graph.input}
    kinds |= {name: value.data_type for name, value in values.items()}
    outputs = {output.name for output in graph.output}
    ordered: list[onnx.NodeProto] = []
    made: dict[tuple[str, int], str] = {}
    infos: list[onnx.ValueInfoProto] = []
    free = FreeNames(graph)

    def converted(name: str, wanted: int) -> str:
        if (name, wanted) in made:
            return made[name, wanted]
        other = made[name, wanted] = free.take(f"{name}.{'fp16' if wanted == TensorProto.FLOAT16 else 'fp32'}")
        if name in values:
            value = numpy_helper.to_array(values[name])
            made_of = to_half(value, name) if wanted == TensorProto.FLOAT16 else value.astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(made_of, other))
        else:
            ordered.append(helper.make_node("Cast", [name], [other], name=other, to=wanted))
            infos.append(_info(other, wanted, shapes[name]))
            shapes[other] = infos[-1]
        kinds[other] = wanted
        return other

    for node in graph.node:
        wanted = TensorProto.FLOAT16 if node.name in types.half else TensorProto.FLOAT
        if node.op_type != "Cast":
            for index, name in enumerate(node.input):
                its = TensorProto.FLOAT if index in OF_FLOAT32.get(node.op_type, ()) else wanted
                if name and kinds[name] in FLOATS and kinds[name] != its:
                    node.input[index] = converted(name, its)
        ordered.append(node)
        for index, name in enumerate(node.output):
            if not name:
                continue
            kinds[name] = _kind(node, told.get(name), wanted)
            if name in outputs and kinds[name] == TensorProto.FLOAT16:
                half = node.output[index] = free.take(f"{name}.half")
                kinds[half], kinds[name] = TensorProto.FLOAT16, TensorProto.FLOAT
                infos.append(_info(half, TensorProto.FLOAT16, shapes[name]))
                ordered.append(helper.make_node("Cast", [half], [name], name=free.take(f"{name}.fp32"), to=TensorProto.FLOAT))
            elif name not in outputs:
                infos.append(_info(name, kinds[name], _shaped(name, node, shapes, values)))
                shapes[name] = infos[-1]
    _replace(graph, ordered, infos)
    return typed


def free_chain(model: onnx.ModelProto, tensors: Collection[str], types: Types) -> frozenset[str]:
    """The products that make or read these tensors, directly or through nodes whose type is free."""
    nodes = list(model.graph.node)
    values = constants(model)
    products = {node.name for node in nodes if node.op_type in PRODUCTS}
    made = {node.output[0] for node in nodes if node.name in products}
    biases = {node.name for node in nodes if node.op_type == "Add" and node.input[0] in made and node.input[1] in values}
    passed = types.free | biases
    found: set[str] = set()
    for forward in (False, True):
        frontier = set(tensors)
        for node in nodes if forward else reversed(nodes):
            touched, other = (node.input, node.output) if forward else (node.output, node.input)
            if not frontier & set(touched):
                continue
            if node.name in products:
                found.add(node.name)
            elif node.name in passed:
                frontier |= set(other)
    return frozenset(found)


def _residual_adds(nodes: list[onnx.NodeProto]) -> frozenset[str]:
    """Additions of a tensor to something computed from it, those of heads aside. (RoPE adds two parts of which neither comes from
    the other.)"""
    numbers = {output: index for index, node in enumerate(nodes) for output in node.output}
    # One bit a node: the ancestors of a tensor as a number.
    ancestors: list[int] = []
    found = set()
    for index, node in enumerate(nodes):
        made = [numbers[name] for name in node.input if name in numbers]
        if node.op_type == "Add" and len(made) == 2 and made[0] != made[1] and not is_of_a_head(node):
            one, other = made
            if ancestors[one] >> other & 1 or ancestors[other] >> one & 1:
                found.add(node.name)
        known = 1 << index
        for number in made:
            known |= ancestors[number]
        ancestors.append(known)
    return frozenset(found)


def _unfit(nodes: Iterable[onnx.NodeProto], fixed: Mapping[str, bool], values: Mapping[str, onnx.TensorProto]) -> dict[str, str]:
    found = {}
    for node in nodes:
        kept = OF_FLOAT32.get(node.op_type, ())
        read = [name for index, name in enumerate(node.input) if name in values and index not in kept]
        for name in read if node.name not in fixed else ():
            floats = values[name].data_type == TensorProto.FLOAT
            if floats and (problem := constant_problem(numpy_helper.to_array(values[name]))):
                found[node.name] = f"{name} {problem}"
    return found


def _kind(node: onnx.NodeProto, told: int | None, wanted: int) -> int:
    """The type of what a node makes, that the model tells to be of another, if of any."""
    if node.op_type == "QuantizeLinear":
        return TensorProto.INT8
    if node.op_type == "Cast":
        return next(int(attribute.i) for attribute in node.attribute if attribute.name == "to")
    return wanted if told is None or told in FLOATS else told


def _readers(nodes: Iterable[onnx.NodeProto]) -> dict[str, list[onnx.NodeProto]]:
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def _reached(
    nodes: list[onnx.NodeProto],
    fixed: Mapping[str, bool],
    touching: Mapping[str, list[onnx.NodeProto]],
    *,
    forward: bool = True,
) -> dict[str, set[str]]:
    """By free node, the fixed nodes next to it in one direction, through free nodes. The backbone does not look into heads."""
    reached: dict[str, set[str]] = {}
    for node in nodes:
        if node.name in fixed:
            continue
        found: set[str] = set()
        for tensor in node.input if forward else node.output:
            for other in touching.get(tensor, ()):
                if is_of_a_head(node) or not is_of_a_head(other):
                    found |= {other.name} if other.name in fixed else reached[other.name]
        reached[node.name] = found
    return reached


def _shaped(
    name: str, node: onnx.NodeProto, shapes: Mapping[str, onnx.ValueInfoProto], values: Mapping[str, onnx.TensorProto]
) -> onnx.ValueInfoProto:
    """Q and DQ are new in the graph and keep the shape of what they read."""
    if name in shapes:
        return shapes[name]
    source = node.input[0]
    if source in values:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(values[source].dims))
    if source not in shapes:
        raise ExportError(f"The shape of {name} is not known.", remedy="report this: a pass forgot to say it")
    return shapes[source]


def _info(name: str, kind: int, shaped: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    dims = [dim.dim_value for dim in shaped.type.tensor_type.shape.dim]
    return helper.make_tensor_value_info(name, kind, dims)


def _replace(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], infos: list[onnx.ValueInfoProto]) -> None:
    # protobuf copies on extend; the list must hold copies before the field that owns the originals is cleared.
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    del graph.value_info[:]
    graph.value_info.extend(infos)
    read = {name for node in copies for name in node.input}
    kept = [onnx.TensorProto.FromString(entry.SerializeToString()) for entry in graph.initializer if entry.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
