"""ONNX heads that somebody made to do harm: each is refused as a head, and before anything takes the room that it asks for."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.heads import HeadError, check_heads, read_head
from tests.support.models import SMALL, VIT

HUGE, HIGH = 10**11, 10**5


def node(kind: str, inputs: str, output: str, **said: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **said)


def numbers(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def graph(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    *,
    tensors: Sequence[TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    opset: int = 18,
) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "h", "w", "c"]) for name in ("patches", "y")]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    made = helper.make_graph(nodes, "hostile", values[:1], values[1:], [*stored, *tensors])
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("f", 1)] if functions else [])
    return helper.make_model(made, opset_imports=opsets, functions=functions, ir_version=10)


def added(*nodes: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    """The largest of the huge `x` that the nodes make, added to the patches."""
    last = [node("ReduceMax", "x", "most", keepdims=0), node("Add", "patches most", "y")]
    return graph([*nodes, *last], constants)


def tensor(kind: int, dims: Sequence[int], raw: bytes | None = None, **fields: Any) -> onnx.ModelProto:
    made = TensorProto(name="w", data_type=kind, dims=dims, **fields)
    if raw is not None:
        made.raw_data = raw
    return graph([node("Add", "patches w", "y")], tensors=[made])


def laughs(depth: int, calls: int) -> onnx.ModelProto:
    """Functions that each call the one before many times."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    functions = [helper.make_function("f", "f0", ["x"], ["z"], [node("Neg", "x", "z")], opsets)]
    for level in range(1, depth):
        steps = ["x", *(f"t{step}" for step in range(calls - 1)), "z"]
        body = [node(f"f{level - 1}", before, after, domain="f") for before, after in pairwise(steps)]
        functions.append(helper.make_function("f", f"f{level}", ["x"], ["z"], body, opsets))
    return graph([node(f"f{depth - 1}", "patches", "y", domain="f")], functions=functions)


def endless() -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    itself = helper.make_function("f", "g", ["x"], ["z"], [node("g", "x", "z", domain="f")], opsets)
    return graph([node("g", "patches", "y", domain="f")], functions=[itself])


def many() -> onnx.ModelProto:
    """Constants of 16 MB each, all of them needed at the end."""
    made = [node("Expand", "one side", f"c{index}") for index in range(100)]
    return added(
        *made, node("Sum", " ".join(f"c{index}" for index in range(100)), "x"), one=np.float32(1), side=numbers(2000, 2000)
    )


def held() -> onnx.ModelProto:
    """Maps of 600 MB each, computed from the patches, all of them needed at the end."""
    made = [node("Tile", "patches times", f"t{index}") for index in range(9)]
    constants = {"times": numbers(1, 1000, 100, 1)}
    return added(*made, node("Sum", " ".join(f"t{index}" for index in range(9)), "x"), **constants)


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "filled": (lambda: added(node("ConstantOfShape", "s", "x"), s=numbers(10**5, 10**5)), "too large"),
    "overflow": (lambda: added(node("ConstantOfShape", "s", "x"), s=numbers(1 << 40, 1 << 40)), "too large"),
    "expanded": (lambda: added(node("Expand", "one s", "x"), one=np.float32(1), s=numbers(HUGE)), "too large"),
    "expanded patches": (lambda: added(node("Expand", "patches s", "x"), s=numbers(10**9, 1, 4, 6, 64)), "too large"),
    "tiled": (lambda: added(node("Tile", "one s", "x"), one=np.ones(3, np.float32), s=numbers(HUGE)), "too large"),
    "tiled patches": (lambda: added(node("Tile", "patches s", "x"), s=numbers(10**5, 1, 10**3, 1)), "too large"),
    "counted": (
        lambda: added(node("Range", "a b c", "w"), node("Cast", "w", "x", to=1), a=np.int64(0), b=np.int64(HUGE), c=np.int64(1)),
        "too large",
    ),
    "counted in floats": (
        lambda: added(node("Range", "a b c", "x"), a=np.float32(0), b=np.float32(1e12), c=np.float32(1)), "too large"
    ),
    "no steps": (
        lambda: added(node("Range", "a b c", "w"), node("Cast", "w", "x", to=1), a=np.int64(0), b=np.int64(9), c=np.int64(0)),
        "cannot be worked out",
    ),
    "padded": (lambda: added(node("Pad", "one s", "x"), one=np.ones(3, np.float32), s=numbers(HUGE, HUGE)), "too large"),
    "one of many": (
        lambda: added(node("OneHot", "i d v", "x"), i=np.arange(3), d=np.int64(HUGE), v=np.ones(2, np.float32)), "too large"
    ),
    "resized": (lambda: added(node("Resize", "patches e e s", "x"), e=np.zeros(0, np.float32), s=numbers(1, HUGE, 1, 64)), ""),
    "outer": (
        lambda: added(node("MatMul", "a b", "x"), a=np.ones((HIGH, 1), np.float32), b=np.ones((1, HIGH), np.float32)), "too large"
    ),
    "gathered twice": (
        lambda: added(
            node("Gather", "a i", "b"), node("Gather", "b i", "x", axis=1), a=np.ones((9, 9), np.float32), i=np.zeros(HIGH, int)
        ),
        "too large",
    ),
    "many": (many, "when they are worked out"),
    "held": (held, "at one time"),
    "more said than held": (lambda: tensor(1, [10**9, 10**9], b"1234"), "holds 1 values"),
    "more said than listed": (lambda: tensor(1, [10**9], float_data=[1.0]), "holds 1 values"),
    "negative": (lambda: tensor(1, [-1], float_data=[1.0]), "says that it is [-1]"),
    "empty and huge": (lambda: tensor(1, [1 << 62, 0], b""), "holds 0 values"),
    "unknown type": (lambda: tensor(99, [1], float_data=[1.0]), "no valid ONNX graph"),
    "half a value": (lambda: tensor(1, [2], b"12345"), "holds 1 values"),
    "laughs": (lambda: laughs(12, 10), "too long"),
    "endless": (endless, "calls itself"),
    "long": (lambda: laughs(5, 11), "too long"),
    "opset of tomorrow": (lambda: graph([node("Neg", "patches", "y")], opset=999), "knows no opset after"),
    "text": (lambda: graph([node("Cast", "patches", "t", to=8), node("Cast", "t", "y", to=1)]), "text in t"),
    "dice": (lambda: graph([node("RandomNormalLike", "patches", "y")]), "never twice the same"),
    "by content": (lambda: added(node("NonZero", "patches", "w"), node("Cast", "w", "x", to=1)), "depends on what a frame shows"),
    "window": (lambda: graph([node("MaxPool", "patches", "y", kernel_shape=[1 << 40, 1], pads=[1 << 40] * 4)]), "too large"),
    "turned": (lambda: graph([node("Transpose", "patches", "y", perm=[-(1 << 60), 0, 1, 2])]), "do not go together"),
}  # fmt: skip


def written(name: str, path: Path) -> Path:
    path.write_bytes(HOSTILE[name][0]().SerializeToString())
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_head_is_refused_as_a_head(name: str, tmp_path: Path) -> None:
    with pytest.raises(HeadError) as caught:
        check_heads([read_head("own", written(name, tmp_path / "head.onnx"))], VIT, SMALL)
    assert HOSTILE[name][1] in str(caught.value)
    assert caught.value.exit_code == 3


def test_they_are_refused_in_little_memory(tmp_path: Path) -> None:
    """All of them, one after the other, in a process that may have four gigabytes of addresses."""
    for number, name in enumerate(HOSTILE):
        written(name, tmp_path / f"{number}.onnx")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edgec.heads import HeadError, check_heads, read_head\n"
        "from tests.support.models import SMALL, VIT\n"
        "count = 0\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.onnx')):\n"
        "    try:\n"
        "        check_heads([read_head('own', path)], VIT, SMALL)\n"
        "    except HeadError:\n"
        "        count += 1\n"
        "print(count)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    assert done.stdout.split() == [str(len(HOSTILE))]
    assert done.stderr == "", "nothing of the files is quoted to the terminal"


def test_weights_named_many_times_over_are_not_copied(tmp_path: Path) -> None:
    """A small file of weights of which a hundred tensors each name all."""
    path, size = tmp_path / "head.onnx", 100 << 20
    Path(f"{path}.data").write_bytes(bytes(size))
    tensors = []
    for index in range(100):
        made = TensorProto(name=f"w{index}", data_type=1, dims=[size // 4], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": "head.onnx.data", "offset": "0", "length": str(size)}.items():
            made.external_data.add(key=key, value=value)
        tensors.append(made)
    path.write_bytes(graph([node("Neg", "patches", "y")], tensors=tensors).SerializeToString())
    with pytest.raises(HeadError, match="too large for a head"):
        read_head("own", path)


@pytest.mark.parametrize("said", ["-1", "1e3", "9" * 400, "\u0663"])
def test_offsets_of_external_weights_are_plain_numbers(said: str, tmp_path: Path) -> None:
    path = tmp_path / "head.onnx"
    Path(f"{path}.data").write_bytes(bytes(4000))
    made = TensorProto(name="w", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "head.onnx.data", "offset": said, "length": "4"}.items():
        made.external_data.add(key=key, value=value)
    path.write_bytes(graph([node("Add", "patches w", "y")], tensors=[made]).SerializeToString())
    with pytest.raises(HeadError, match="truncated, or belongs to another graph"):
        read_head("own", path)
