"""From an ONNX file to a `Head`: whole in itself, valid, of bounded length, and reading what a backbone gives.

Requires operations of ONNX's own set, float32 inputs, and weights in the file or in `HEAD.onnx.data`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgec.errors import HeadError
from edgec.graph.files import LIMIT, serialised
from edgec.graph.values import array_of, name_of
from edgec.heads.description import checked, from_texts
from edgec.heads.kinds import description
from edgec.heads.onnx_heads.external_data import check_values, load_external_data
from edgec.heads.types import ONNX, Head, Output
from edgec.text import listed, shown
from edgec.untrusted import Refused, read_bytes

_READABLE = re.compile(r"cls|patches|registers|patches_\d{1,3}")
_AGAIN = "export it again with torch.onnx.export, and check it with onnx.checker"
MOST_NODES = 10_000
"""Operations of a head, with its functions inlined. A DPT decoder has some 300."""


def read_onnx(name: str, path: Path, digest: str, stated: Mapping[str, Any], toml: Path | None) -> Head:
    """The head in an ONNX file; `stated` is what the TOML next to it says. Raises `HeadError` for a file that is not an ONNX
    graph, that lacks weights, or that reads what no backbone gives."""
    model = _opened(path)
    metadata = {key: value for key, value in model.metadata_props.items() if key in description().model_fields}
    described = checked({"kind": ONNX, **from_texts(metadata), **stated}, str(toml or path))
    if described.kind != ONNX:
        raise HeadError(f"{shown(toml or path)} says {described.kind}, but {shown(path.name)} is an ONNX graph.")
    reads = tuple(map(name_of, fed_inputs(model.graph)))
    unknown = [each for each in reads if not _READABLE.fullmatch(each)]
    if unknown or not reads:
        raise HeadError(
            f"{shown(path)} reads something else than the backbone's features.",
            evidence=f"its inputs: {listed(reads) or 'none'}",
            remedy="name its inputs cls, patches, registers, or patches_K for the patches after block K, when exporting it",
        )
    outputs = tuple(map(name_of, model.graph.outputs))
    if not outputs:
        raise HeadError(f"{shown(path)} has no outputs.")
    numbers = sorted(int(each.removeprefix("patches_")) for each in reads if each.startswith("patches_"))
    if described.layers and list(described.layers) != numbers:
        raise HeadError(
            f"{shown(toml or path)} says other layers than the graph reads.",
            evidence=f"layers {list(described.layers)}; its inputs: {listed(reads)}",
            remedy="leave out `layers`: the inputs' names say it",
        )
    output: Output = described.output or "values"
    if len(outputs) > 1 and output != "values":
        raise HeadError(
            f"{shown(path)} has several outputs, and nothing says which of them is the {output}.",
            evidence=listed(outputs),
            remedy="give a head with one output, or leave out `output`: all are then plain values",
        )
    head = Head(name, str(path), digest, described, reads, output, graph=serialised(model), graph_outputs=outputs)
    if len(set(head.outputs())) != len(outputs):
        raise HeadError(f"Two outputs of the head {name} would have the same name.", evidence=listed(outputs))
    return head


def fed_inputs(graph: ir.Graph) -> list[ir.Value]:
    """The inputs that a caller feeds: older files list their constants among the inputs too."""
    return [value for value in graph.inputs if not value.is_initializer()]


def _opened(path: Path) -> ir.Model:
    import onnx.inliner

    try:
        content = read_bytes(path, LIMIT)
    except (Refused, OSError) as error:
        raise HeadError(f"The head {shown(path)} cannot be read.", evidence=f"it {shown(error)}") from error
    if not content:
        raise HeadError(f"{shown(path)} is empty.", evidence="0 bytes", remedy=_AGAIN)
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except Exception as error:  # protobuf's own errors, of bytes from outside
        raise HeadError(f"{shown(path)} is no ONNX graph.", evidence=shown(error), remedy=_AGAIN) from error
    load_external_data(proto, path)
    if proto.graph.sparse_initializer:
        raise HeadError(f"{shown(path)} has sparse weights.", remedy="export it with dense ones")
    _check_length(proto, path)
    try:
        check_values(proto)
        onnx.checker.check_model(proto)
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
        model = ir.from_proto(proto)
        _use_positive_axes(model.graph)
        RemoveUnusedNodesPass()(model)  # runtimes would compute them
    except Exception as error:
        raise HeadError(f"{shown(path)} is no valid ONNX graph.", evidence=first_line(error), remedy=_AGAIN) from error
    for name, constant in model.graph.initializers.items():
        values = array_of(constant)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise HeadError(f"{shown(path)} holds NaN or infinity.", evidence=f"in {shown(name)}")
    domains = sorted({node.domain for node in model.graph if node.domain not in ("", "ai.onnx")})
    if domains:
        raise HeadError(
            f"{shown(path)} has operations that are not ONNX's own.",
            evidence=f"of the domains {listed(domains)}",
            remedy="export it without custom operations and before any optimiser of a runtime",
        )
    return model


def first_line(error: Exception) -> str:
    """An exception's class and the first line of its message, for evidence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(f"{type(error).__name__}: {lines[0] if lines else 'no message'}")


def _check_length(model: onnx.ModelProto, path: Path) -> None:
    """Raises `HeadError` if the graph would be too long once its functions are inlined: they may call one another many times."""
    functions = {(each.domain, each.name): each for each in model.functions}
    lengths: dict[tuple[str, str], int] = {}

    def length(nodes: Iterable[onnx.NodeProto], inside: frozenset[tuple[str, str]]) -> int:
        total = 0
        for node in nodes:
            called = (node.domain, node.op_type)
            if called in inside:
                raise HeadError(f"{shown(path)} has a function that calls itself.", evidence=shown(node.op_type), remedy=_AGAIN)
            if called in functions and called not in lengths:
                lengths[called] = length(functions[called].node, inside | {called})
            total += lengths.get(called, 1)
            for attribute in node.attribute:
                for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                    total += length(graph.node, inside)
        return total

    count = length(model.graph.node, frozenset())
    if count > MOST_NODES:
        raise HeadError(f"{shown(path)} is too long for a head.", evidence=f"{count:,} operations; {MOST_NODES:,} is the most")


def _use_positive_axes(graph: ir.Graph) -> None:
    """PyTorch's older exporter writes `movedim(-1, 1)` as a permutation with -1 in it, which ONNX does not allow."""
    for node in graph:
        perm = node.attributes.get_ints("perm") if node.op_type == "Transpose" else None
        if perm and any(-len(perm) <= axis < 0 for axis in perm):
            node.attributes.add(ir.AttrInt64s("perm", [axis % len(perm) for axis in perm]))
