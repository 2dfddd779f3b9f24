"""What NVIDIA's compiler makes of the family's graphs for a Jetson, as they are shipped and without each of their rewrites.

Weights are drawn, and frames are noise: kernels, types and bytes follow from shapes and types alone.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from rich.console import Console

from benchmarks.heads import drawn_heads, layers_of
from edgec import checkpoint as checkpoints
from edgec.graph.export import export
from edgec.graph.files import save
from edgec.graph.operations import operations
from edgec.graph.peaks import observe_peaks
from edgec.graph.plan import PrecisionPlan
from edgec.graph.statistics import observe
from edgec.heads.attach import attach
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.attention import with_attention
from edgec.lowering.tensorrt.compiler.compiling import compile_for_each
from edgec.lowering.tensorrt.typed import residual_adds
from edgec.lowering.tensorrt.writing import REWRITES, typed_model
from edgec.model.camera import assemble
from edgec.model.spec import Size
from edgec.precision.recipes import tail_recipe
from edgec.precision.static import int8_activations, uniform
from edgec.report.compiled import HEADINGS, NOTE, compiled_sheet, compiler_line
from edgec.report.sheets import Sheet
from edgec.report.table import terminal_table

ARCHITECTURES = ("vits16", "vits16plus", "convnext_tiny")
_WIDTH = 150


@dataclass(frozen=True)
class Graph:
    """A hub graph with an int8 plan for it, and the largest value of each tensor."""

    hub: ir.Model
    int8: PrecisionPlan
    peaks: Mapping[str, float]


def read_graph(architecture: str, size: Size, *, heads: bool = False) -> Graph:
    """Exported with drawn weights, and with a segmentation and a depth head if there are to be `heads`; ranges are those of one
    frame of noise."""
    checkpoint = checkpoints.read(f"random:{architecture}")
    layers = layers_of(checkpoint.spec) if heads else ()
    hub = export(assemble(checkpoint, size, folded=True, layers=layers), checkpoint.spec, size, 1)
    hub = attach(hub, drawn_heads(checkpoint.spec)) if heads else hub
    frames = np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3), dtype=np.uint8)
    ranges = {name: entry.range for name, entry in observe(hub, int8_activations(hub), [frames], 1).items()}
    chosen = [entry for entry in operations(hub) if entry.kind in ("linear", "convolution")]
    exceptions = dict.fromkeys((entry.name for entry in chosen), "int8")
    plan = PrecisionPlan("int8", "fp16", operations=exceptions, ranges=ranges, activations="s8")  # type: ignore[arg-type]
    return Graph(hub, plan, observe_peaks(hub, [frames], 1))


def variants(graph: Graph) -> Iterator[tuple[str, ir.Model]]:
    """The graphs that are shipped, and each without one of the rewrites that change something in it."""
    for plan in (uniform("fp16"), graph.int8):
        yield plan.name, typed_model(graph.hub, plan)[0]
    yield "int8-folded", typed_model(graph.hub, graph.int8, folded=True)[0]
    recipe = tail_recipe(graph.hub)
    if recipe.unquantised:
        quantised = {name: each for name, each in graph.int8.operations.items() if name not in recipe.unquantised}
        fitted = TensorRt().fitted(graph.hub, replace(graph.int8, operations=quantised), graph.peaks)
        yield f"int8-folded {recipe.variant}", typed_model(graph.hub, fitted, folded=True)[0]
    fp8 = replace(graph.int8, name="fp8", operations=dict.fromkeys(graph.int8.operations, "fp8"), activations="fp8")
    yield "fp8", typed_model(graph.hub, with_attention(graph.hub, fp8, graph.peaks), folded=True)[0]
    attention = with_attention(graph.hub, graph.int8, graph.peaks)
    yield "int8-folded without fp16 attention", typed_model(graph.hub, attention, folded=True)[0]
    for plan, folded in ((uniform("fp16"), False), (graph.int8, True)):
        name = "int8-folded" if folded else plan.name
        shipped = _kinds(typed_model(graph.hub, plan, folded=folded)[0])
        for rewrite in REWRITES:
            model, _ = typed_model(graph.hub, plan, folded=folded, rewrites=[other for other in REWRITES if other != rewrite])
            if _kinds(model) != shipped:
                yield f"{name} without {rewrite}", model
        wide = plan.with_float32(sorted(residual_adds(list(graph.hub.graph))))
        yield f"{name} without fp16 residual stream", typed_model(graph.hub, wide, folded=folded)[0]
    bare = graph.int8.with_float32(sorted(residual_adds(list(graph.hub.graph))))
    yield "int8 without all", typed_model(graph.hub, bare, rewrites=())[0]


def _kinds(model: ir.Model) -> Counter[tuple[str, object]]:
    """How many nodes of each operator there are that make each shape: other for every rewrite that found something to do."""
    return Counter((node.op_type, str(node.outputs[0].shape)) for node in model.graph)


def measure(
    architectures: Sequence[str], sizes: Sequence[Size], sms: Sequence[str], *, shipped_only: bool, heads: bool = False
) -> Iterator[Sheet]:
    """One table for each architecture and size."""
    with tempfile.TemporaryDirectory(prefix="edgec-kernels-") as folder:
        for architecture in architectures:
            for size in sizes:
                compilations = []
                for name, model in variants(read_graph(architecture, size, heads=heads)):
                    if shipped_only and " without " in name:
                        continue
                    path = Path(folder, "graph.onnx")
                    save(model, path)
                    compilations += [(name, each.summary) for each in compile_for_each(path, dict.fromkeys(sms, ()))]
                table = compiled_sheet(compilations)
                assert table is not None
                what = f"{architecture} at {size}{' with heads' if heads else ''}"
                title = f"{what}: {compiler_line([each for _, each in compilations])}"
                yield replace(table, headings=(replace(HEADINGS[0], title="form"), *HEADINGS[1:]), title=title)


def run_kernels(
    architectures: Sequence[str], sizes: Sequence[Size], sms: Sequence[str], *, shipped_only: bool, heads: bool = False
) -> None:
    """Print the tables as they are made."""
    console = Console(highlight=False, width=_WIDTH)
    for table in measure(architectures, sizes, sms, shipped_only=shipped_only, heads=heads):
        console.print(table.title, style="bold")
        console.print(terminal_table(table, wrap=False))
        console.print()
    console.print(NOTE)
