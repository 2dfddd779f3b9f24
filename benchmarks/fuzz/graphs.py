"""ONNX graphs of strangers: other operations, wires, shapes, types and constants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.fuzz.mutations import TEXTS

if TYPE_CHECKING:
    import onnx

_OPERATIONS = (
    "Identity", "Relu", "Shape", "Gather", "Reshape", "Expand", "If", "Loop", "Scan", "NonZero",
    "Resize", "Split", "Concat", "Cast",
    "Softmax", "LayerNormalization", "MatMul", "Gemm", "Conv", "QuantizeLinear",
    "DequantizeLinear", "Range", "ConstantOfShape", "Tile",
    "Pad", "Slice", "Transpose", "Where", "Einsum", "GridSample", "Mish", "Unheard", "TopK", "ArgMax", "Unsqueeze", "Squeeze", "",
)  # fmt: skip
_NUMBERS = (0, 1, -1, 2, 3, 7, 64, 2**20, 2**31, 2**40, 2**62, -(2**63), 2**63 - 1)


def graph_changed(random: Random, source: Path, target: Path) -> str:
    """Writes the graph with one to four changes; returns what was done."""
    import onnx

    model = onnx.load(source)
    done = []
    for _ in range(random.choice((1, 1, 2, 4))):
        change = random.choice(_CHANGES)
        change(random, model)
        done.append(change.__name__[1:])
    target.write_bytes(model.SerializeToString())
    return ", ".join(done)


def _operation(random: Random, model: onnx.ModelProto) -> None:
    node = _node(random, model)
    if node is not None:
        node.op_type = random.choice(_OPERATIONS)
        node.domain = random.choice(("", "", "", "com.microsoft", "ai.onnx.ml", "x\x1b[2J"))


def _wire(random: Random, model: onnx.ModelProto) -> None:
    node = _node(random, model)
    if node is None or not node.input:
        return
    other = _node(random, model)
    names = [*node.input, *node.output, *(other.output if other else ()), "", "nobody", "x" * 5000, random.choice(_utf8_texts())]
    node.input[random.randrange(len(node.input))] = random.choice(names)
    if random.random() < 0.2:
        node.input.extend([random.choice(names)] * random.choice((1, 3, 2000)))
    if random.random() < 0.2:
        del node.input[0]


def _output(random: Random, model: onnx.ModelProto) -> None:
    """A tensor made twice, or by nobody; a cycle."""
    node = _node(random, model)
    if node is not None and node.output:
        other = _node(random, model)
        node.output[0] = random.choice([*(other.output if other else ()), *node.input, "", random.choice(_utf8_texts())])


def _attribute(random: Random, model: onnx.ModelProto) -> None:
    from onnx import helper

    node = _node(random, model)
    if node is None:
        return
    names = [each.name for each in node.attribute] + [
        "axis",
        "axes",
        "perm",
        "to",
        "keepdims",
        "epsilon",
        "value",
        "then_branch",
        "strides",
    ]
    values: tuple[Any, ...] = (
        random.choice(_NUMBERS), float("nan"), 1e30, random.choice(_utf8_texts()),
        [random.choice(_NUMBERS)] * random.choice((1, 4, 5000)),
        [1.5, float("inf")], helper.make_tensor("t", 1, [2], [1.0, 2.0]), model.graph, _claiming(),
    )  # fmt: skip
    name = random.choice(names)
    remaining = [each for each in node.attribute if each.name != name or random.random() < 0.1]
    del node.attribute[:]
    node.attribute.extend(remaining)
    if random.random() < 0.8:
        attribute = helper.make_attribute(name, random.choice(values))
        if attribute.type == 5 and len(model.graph.node) > 2000:
            return
        node.attribute.append(attribute)


def _constant(random: Random, model: onnx.ModelProto) -> None:
    """Its shape, its type, its bytes, where they lie."""
    if not model.graph.initializer:
        return
    tensor = random.choice(model.graph.initializer)
    kind = random.randrange(7)
    if kind == 0:
        tensor.dims[:] = [random.choice(_NUMBERS) for _ in range(random.choice((0, 1, 2, 9)))]
    elif kind == 1:
        tensor.data_type = random.choice((0, 1, 2, 6, 7, 8, 9, 10, 11, 14, 16, 17, 20, 21, 99, 2**31 - 1))
    elif kind == 2:
        tensor.raw_data = random.choice((b"", tensor.raw_data[:-1], tensor.raw_data * 2, b"\xff" * len(tensor.raw_data)))
    elif kind == 3:
        tensor.data_location = 1
        for key, value in (("location", random.choice(("/etc/passwd", "../../x", "missing", "", "/dev/zero"))), ("offset", "-1")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        tensor.ClearField("raw_data")
    elif kind == 4:
        tensor.name = random.choice(("", "frames", *_utf8_texts()))
    elif kind == 5:
        model.graph.initializer.append(tensor)
    else:
        model.graph.initializer.remove(tensor)


def _shape(random: Random, model: onnx.ModelProto) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if not values:
        return
    value = random.choice(values)
    dims = value.type.tensor_type.shape.dim
    if dims and random.random() < 0.8:
        dim = random.choice(dims)
        if random.random() < 0.3:
            dim.dim_param = random.choice(("n", "", random.choice(_utf8_texts())))
        else:
            dim.dim_value = random.choice(_NUMBERS)
    elif random.random() < 0.5:
        value.type.tensor_type.elem_type = random.choice((0, 1, 2, 7, 8, 9, 10, 16, 99))
    else:
        value.ClearField("type")


def _place(random: Random, model: onnx.ModelProto) -> None:
    """Nodes out of order, twice, or not at all."""
    nodes = list(model.graph.node)
    if not nodes:
        return
    random.choice((random.shuffle, list.reverse, list.pop, lambda each: each.extend(nodes[:20])))(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _ends(random: Random, model: onnx.ModelProto) -> None:
    ends: Any = random.choice((model.graph.input, model.graph.output))
    if ends and random.random() < 0.5:
        ends.remove(random.choice(ends))
    elif ends:
        copy = ends.add()
        copy.CopyFrom(ends[0])
        copy.name = random.choice((copy.name, "", random.choice(_utf8_texts()), "more"))


def _heading(random: Random, model: onnx.ModelProto) -> None:
    """Versions, domains, functions and metadata."""
    kind = random.randrange(5)
    if kind == 0:
        model.ir_version = random.choice((0, 1, 3, 9, 10, 99, 2**62))
    elif kind == 1 and model.opset_import:
        model.opset_import[0].version = random.choice((0, 1, 7, 12, 17, 20, 23, 99, 2**62, -1))
    elif kind == 2:
        del model.opset_import[:]
        if random.random() < 0.5:
            entry = model.opset_import.add()
            entry.domain, entry.version = random.choice(("", "ai.onnx", "com.microsoft", "x")), 18
    elif kind == 3:
        entry = model.metadata_props.add()
        entry.key = random.choice(("edgec.heads", "output", "classes", "kind", "layers", random.choice(_utf8_texts())))
        entry.value = random.choice(("[" * 50_000, "{}", "[1]", str(10**400), "NaN", *_utf8_texts()))
    else:
        model.graph.name = random.choice(_utf8_texts())


def _branch(random: Random, model: onnx.ModelProto) -> None:
    """Graphs inside graphs."""
    from onnx import helper

    for _ in range(random.choice((1, 5, 20))):
        inner = helper.make_graph(list(model.graph.node[:3]), "inner", [], list(model.graph.output[:1]))
        other = helper.make_graph([], "other", [], [])
        node = helper.make_node("If", ["frames"], [f"branch{random.random()}"], then_branch=inner, else_branch=other)
        del model.graph.node[:1]
        model.graph.node.insert(0, node)


def _claiming() -> onnx.TensorProto:
    """A tensor without bytes that says that it has a thousand million values."""
    import onnx

    return onnx.TensorProto(name="t", data_type=7, dims=[10**9])


def _node(random: Random, model: onnx.ModelProto) -> onnx.NodeProto | None:
    return random.choice(model.graph.node) if model.graph.node else None


def _utf8_texts() -> tuple[str, ...]:
    """Protobuf holds no lone surrogates."""
    return tuple(text for text in TEXTS if text.isascii() or text.encode("utf-8", "ignore").decode() == text)


_CHANGES: tuple[Callable[[Random, onnx.ModelProto], None], ...] = (
    _operation, _operation, _wire, _wire, _output, _attribute, _attribute, _constant, _constant,
    _shape, _shape, _place, _ends, _heading,
    _branch,
)  # fmt: skip
