"""Heads: weights, what is said beside or inside, ONNX graphs of strangers; read, held against a backbone, and built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.graphs import graph_changed
from benchmarks.fuzz.kinds import Try
from benchmarks.fuzz.mutations import bytes_changed, json_text, toml_text, value_changed
from benchmarks.fuzz.pickles import in_a_zip, pickle_of
from benchmarks.fuzz.tensors import small, spoilt
from edgec.model.spec import Size, VitSpec

BACKBONE = VitSpec(64, 4, 1, 128)
_SIDE = (64, 96)
_SAID: dict[str, dict[str, Any]] = {
    "kind": {"kind": "linear", "features": "cls+mean", "classes": ["floor", "wall", "thing"]},
    "floor": {"kind": "segmentation", "layers": [], "output": "labels", "classes": ["floor", "wall", "thing"]},
    "grasp": {"kind": "mlp", "activation": "gelu", "output": "values"},
    "depth": {"kind": "depth", "layers": [0, 1, 2, 3], "max_depth": 10.0},
    "outside": {"kind": "onnx", "output": "scores", "classes": ["floor", "wall", "thing"]},
}


def prepare(corpus: Path) -> None:
    """The hub graph of a ViT of four blocks and 64 channels with all its layers, and a head of each kind for it."""
    import onnx

    from tests.support import heads
    from tests.support.models import SMALL, exported

    onnx.save(exported(BACKBONE, SMALL, layers=(0, 1, 2, 3)).hub, corpus / "hub.onnx")
    heads.linear(corpus, BACKBONE.width, name="kind")
    heads.segmentation(corpus, BACKBONE.width, name="floor")
    heads.mlp(corpus, BACKBONE.width, name="grasp")
    heads.depth(corpus, [BACKBONE.width] * 4, list(range(4)), name="depth")
    heads.pooled_onnx(corpus / "outside.onnx", BACKBONE.width)


def draw(random: Random, corpus: Path, place: Path) -> Try:
    """A head whose weights, description or both were changed."""
    source = random.choice([path for path in sorted(corpus.iterdir()) if path.stem in _SAID])
    path = place / source.name
    shutil.copy(source, path)
    part = random.choice(("weights", "weights", "description", "both"))
    what = f"{part} of {source.name}"
    if part != "weights":
        table = value_changed(random, _SAID[source.stem])
        path.with_suffix(".toml").write_bytes(toml_text(random, table))
    if part != "description":
        what += ": " + (_graph(random, path) if path.suffix == ".onnx" else _weights(random, path))
    name = random.choice((source.stem, source.stem, source.stem, "cls", "x" * 50, "\x1b[31m", "Ä"))
    head = next(iter(place.glob(f"{source.stem}.*[!l]")))
    return Try(what, lambda: _attach(name, head, corpus), lambda: _wrong(name, head, corpus))


def _graph(random: Random, path: Path) -> str:
    if random.random() < 0.4:
        path.write_bytes(bytes_changed(random, path.read_bytes()))
        return "bytes"
    return graph_changed(random, path, path)


def _weights(random: Random, path: Path) -> str:
    import torch
    from safetensors.torch import load

    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    way = random.choice(("bytes", "header", "tensors", "tensors", "pickle"))
    if way == "bytes":
        path.write_bytes(bytes_changed(random, data))
    elif way == "header":
        text = json_text(random, value_changed(random, json.loads(data[8:end])))
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
    else:
        path.unlink()
        other = path.with_suffix(random.choice((".pth", ".bin")))
        if way == "pickle":
            other.write_bytes(in_a_zip(pickle_of(random)))
        else:
            state: dict[str, Any] = dict(load(data))
            way = spoilt(random, state)
            torch.save(state, other)
            if random.random() < 0.5 and all(map(small, state.values())):
                _as_safetensors(state, path, json.loads(data[8:end]).get("__metadata__"), other)
    return way


def _as_safetensors(state: dict[str, Any], path: Path, metadata: Any, instead_of: Path) -> None:
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, metadata)
    except Exception:  # it stores fewer kinds of tensors than torch does
        path.unlink(missing_ok=True)
    else:
        instead_of.unlink()


def _attached(name: str, path: Path, corpus: Path) -> Any:
    import onnx_ir as ir

    from edgec.heads import check_heads, read_heads
    from edgec.heads.attach import attach

    heads = read_heads([f"{name}={path}"])
    check_heads(heads, BACKBONE, Size(*_SIDE))
    return attach(ir.load(corpus / "hub.onnx"), heads), heads


def _attach(name: str, path: Path, corpus: Path) -> int:
    _attached(name, path, corpus)
    return 0


def _wrong(name: str, path: Path, corpus: Path) -> str:
    """What was accepted runs in ONNX Runtime, and gives what was promised."""
    import numpy as np

    from edgec.graph.session import open_session

    model, heads = _attached(name, path, corpus)
    try:
        session = open_session(model)
        frames = np.random.default_rng(0).integers(0, 256, (1, *_SIDE, 3), np.uint8)
        outputs_given = session.run(None, {session.get_inputs()[0].name: frames})
    except Exception as error:
        return f"it does not run: {str(error)[:300]}"
    names = [value.name for value in session.get_outputs()]
    shapes = {value.name: list(value.shape) for value in model.graph.outputs}
    for output in heads[0].outputs():
        value = outputs_given[names.index(output)]
        if list(value.shape) != shapes[output]:
            return f"{output} is {value.shape}, not {shapes[output]}"
    return ""
