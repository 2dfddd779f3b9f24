"""Graphs for `edgec check`: edgec's own and a head's, changed in their bytes and in their meaning."""

from __future__ import annotations

from pathlib import Path
from random import Random

from benchmarks.fuzz.graphs import graph_changed
from benchmarks.fuzz.kinds import Try, command
from benchmarks.fuzz.mutations import bytes_changed


def prepare(corpus: Path) -> None:
    """A hub graph, one with its weights outside, and a head with open dimensions."""
    import numpy as np
    import onnx

    from tests.support.heads import pooled_onnx
    from tests.support.models import SMALL, VIT, exported

    hub = exported(VIT, SMALL).hub
    onnx.save(hub, corpus / "hub.onnx")
    pooled_onnx(corpus / "head.onnx", VIT.width)
    quantised = onnx.helper.make_node("QuantizeLinear", [hub.graph.output[0].name, "scale"], ["eighth"], name="q")
    hub.graph.node.append(quantised)
    hub.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.1), "scale"))
    onnx.save(hub, corpus / "typed.onnx")


def draw(random: Random, corpus: Path, place: Path) -> Try:
    """One graph for `edgec check`, with or without a TensorRT version."""
    source, path = random.choice(sorted(corpus.glob("*.onnx"))), place / "model.onnx"
    if random.random() < 0.3:
        path.write_bytes(bytes_changed(random, source.read_bytes()))
        what = "bytes"
    else:
        what = graph_changed(random, source, path)
    version = random.choice(
        ((), (), ("--tensorrt", random.choice(("10.3", "8.6", "11.4", "9" * 400, "-1", "10.3.0.0.0", "1e9"))))
    )
    json_too = ("--json",) * (random.random() < 0.5)
    check = command("check", path if random.random() < 0.9 else place, *version, *json_too)
    # Errors that were found in a graph are an answer, no refusal.
    return Try(f"{source.name}: {what}", lambda: 0 if (code := check()) == 1 else code)
