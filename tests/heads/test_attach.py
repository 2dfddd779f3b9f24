"""Every kind of head in the hub graph, run in ONNX Runtime, against PyTorch on the float32 backbone and real pictures, and
against heads as their authors write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray

from edgec.errors import RequestError
from edgec.fidelity.tasks import TaskMeter
from edgec.graph.contract import FORBIDDEN
from edgec.graph.files import serialised
from edgec.graph.operations import is_of_a_head, operations
from edgec.graph.session import features_of, open_session
from edgec.graph.values import name_of, shape_of
from edgec.heads import Head, HeadError, check_heads, layers_needed, read_head
from edgec.heads.attach import METADATA, attach
from edgec.heads.reference import CameraModelWithHeads, ReferenceHead
from edgec.heads.types import ONNX
from edgec.model.spec import ConvNextSpec, Size, Spec
from tests.support import heads as made
from tests.support.models import CONVNEXT, VIT, exported
from tests.support.plain_heads import by_its_author

DEEP = replace(VIT, depth=4)
SIZE = Size(96, 160)
"""Other in height than in width; a ConvNeXt's last map has odd sides."""
FOUR = (0, 1, 2, 3)

Run = dict[str, NDArray[np.float32]]


def hub_of(spec: Spec, batch: int = 1) -> ir.Model:
    """With every layer that a head may read."""
    return exported(spec, SIZE, batch, layers=FOUR).graph


def both(spec: Spec, heads: Sequence[Head], *, features: bool = True, batch: int = 1) -> tuple[Run, Run, ir.Model]:
    """The outputs of PyTorch and of the merged graph for photographs, and that graph."""
    check_heads(heads, spec, SIZE)
    backbone = exported(spec, SIZE, batch, layers=FOUR)
    model = attach(backbone.graph, heads, features=features)
    reference = CameraModelWithHeads(backbone.model(folded=False), heads, features=features)
    with torch.inference_mode():
        expected = {name: value.numpy() for name, value in reference(torch.from_numpy(backbone.frames)).items()}
    return expected, features_of(open_session(model), backbone.frames), model


def on_its_own_features(outputs: Run, head: Head, frames: NDArray[np.uint8]) -> tuple[Run, Run]:
    """The head's outputs by PyTorch, on the features among `outputs` of a graph, and by that graph: the backbone's own rounding,
    which a deep head enlarges, is in both."""
    given = {name: torch.from_numpy(outputs[name]) for name in head.inputs}
    with torch.inference_mode():
        made_by_torch = ReferenceHead(head)(given, Size(frames.shape[1], frames.shape[2]))
        if head.kind != ONNX:
            author = {head.name: by_its_author(head, given, frames.shape[1:3])}
            require_alike(*({name: value.numpy() for name, value in each.items()} for each in (author, made_by_torch)))
    return {name: value.numpy() for name, value in made_by_torch.items()}, {name: outputs[name] for name in head.outputs()}


def require_alike(expected: Run, actual: Run) -> None:
    """Float32 rounding apart; labels may differ where two classes are all but equal."""
    assert list(expected) == list(actual)
    for name, value in expected.items():
        assert actual[name].shape == value.shape, name
        assert value.std() > 0, f"{name} is the same everywhere"
        if value.dtype.kind == "i":
            assert (actual[name] == value).mean() > 0.999, name
        else:
            assert np.abs(actual[name] - value).max() <= 1e-4 * np.abs(value).max(), name


Make = Callable[[Path, Spec], Head]
WIDTH = {VIT: 64, DEEP: 64, CONVNEXT: 48}


def widths(spec: Spec) -> tuple[int, ...]:
    return spec.widths if isinstance(spec, ConvNextSpec) else (64,) * 4


KINDS: dict[str, Make] = {
    "linear": lambda folder, spec: made.linear(folder, WIDTH[spec]),
    "linear-cls": lambda folder, spec: made.linear(folder, WIDTH[spec], features="cls"),
    "linear-mean": lambda folder, spec: made.linear(folder, WIDTH[spec], features="mean"),
    "labels": lambda folder, spec: made.segmentation(folder, WIDTH[spec]),
    "logits": lambda folder, spec: made.segmentation(folder, WIDTH[spec], output="logits"),
    "layers": lambda folder, spec: made.segmentation(folder, sum(widths(spec)[1:]), layers=(1, 2, 3), output="logits"),
    "mlp": lambda folder, spec: made.mlp(folder, WIDTH[spec]),
    "mlp-logits": lambda folder, spec: made.mlp(folder, WIDTH[spec], activation="relu", output="logits"),
    "depth": lambda folder, spec: made.depth(folder, widths(spec), FOUR),
    "depth-log": lambda folder, spec: made.depth(
        folder, widths(spec), FOUR, bins="log", weighting="softmax", norm=False, bias=True, project=False
    ),
    "depth-sigmoid": lambda folder, spec: made.depth(folder, widths(spec), FOUR, weighting="sigmoid"),
    "depth-regression": lambda folder, spec: made.depth(folder, widths(spec), FOUR, bins_count=1),
    "onnx": lambda folder, spec: read_head("kind", made.pooled_onnx(folder / "kind.onnx", WIDTH[spec])),
}


@dataclass(frozen=True)
class Everything:
    """All kinds at once: one pass through the exporter."""

    spec: Spec
    folder: Path

    @cached_property
    def heads(self) -> dict[str, Head]:
        heads = {}
        for kind, make in KINDS.items():
            (self.folder / kind).mkdir()
            heads[kind] = replace(make(self.folder / kind, self.spec), name=kind.replace("-", "_"))
        check_heads(list(heads.values()), self.spec, SIZE)
        return heads

    @cached_property
    def model(self) -> ir.Model:
        return attach(hub_of(self.spec), list(self.heads.values()), layers=FOUR)

    @cached_property
    def actual(self) -> Run:
        return features_of(open_session(self.model), exported(self.spec, SIZE, layers=FOUR).frames)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Everything]:
    return {name: Everything(spec, tmp_path_factory.mktemp(name)) for name, spec in (("vit", DEEP), ("convnext", CONVNEXT))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", ["vit", "convnext"])
def test_the_graph_computes_what_pytorch_does(kind: str, spec: str, every: dict[str, Everything]) -> None:
    frames = exported(every[spec].spec, SIZE, layers=FOUR).frames
    require_alike(*on_its_own_features(every[spec].actual, every[spec].heads[kind], frames))


@pytest.mark.parametrize("spec", ["vit", "convnext"])
def test_no_kind_of_head_breaks_the_contract(spec: str, every: dict[str, Everything]) -> None:
    names = [kind.replace("-", "_") for kind in KINDS]
    graph = every[spec].model.graph
    assert [value.name for value in graph.outputs] == ["cls", "patches", *(f"patches_{layer}" for layer in FOUR), *names]
    assert {node.op_type for node in graph}.isdisjoint(FORBIDDEN)


def test_several_heads_share_one_pass_of_a_batch(tmp_path: Path) -> None:
    heads = [KINDS[kind](tmp_path, DEEP) for kind in ("linear", "labels", "mlp", "depth")]
    expected, actual, model = both(DEEP, heads, batch=2)
    require_alike(expected, actual)
    assert list(actual) == ["cls", "patches", "kind", "floor", "grasp", "depth"]
    assert {name: value.shape for name, value in actual.items()}.items() >= {
        ("kind", (2, 3)),
        ("floor", (2, 96, 160)),
        ("grasp", (2, 6, 10, 5)),
        ("depth", (2, 96, 160)),
    }
    # The backbone is there once, and every tensor has a shape for the passes to come.
    hub = hub_of(DEEP, 2)
    own = [node.name for node in model.graph if not is_of_a_head(node)]
    assert own == [node.name for node in hub.graph]
    assert {entry.name for entry in operations(model)} > {entry.name for entry in operations(hub)}
    assert all(shape_of(value) and value.dtype for node in model.graph for value in node.outputs)


def test_without_features_nothing_else_is_computed(tmp_path: Path) -> None:
    heads = [made.linear(tmp_path, 64, features="cls")]
    expected, actual, model = both(DEEP, heads, features=False)
    require_alike(expected, actual)
    assert list(actual) == ["kind"]
    hub = exported(DEEP, SIZE).graph
    assert len([node for node in model.graph if not is_of_a_head(node)]) < len(hub.graph)
    assert "patches" not in {value.name for node in model.graph for value in node.outputs}
    assert all(constant.uses() for constant in model.graph.initializers.values())


def test_layers_that_heads_alone_read_stay_inside(tmp_path: Path) -> None:
    heads = [made.segmentation(tmp_path, 128, layers=(1, 3), output="logits")]
    assert layers_needed([*heads, made.linear(tmp_path, 64)]) == (1, 3)
    hub = hub_of(DEEP)
    assert [value.name for value in attach(hub, heads).graph.outputs] == ["cls", "patches", "floor"]
    assert [value.name for value in attach(hub, heads, layers=(3,)).graph.outputs] == ["cls", "patches", "patches_3", "floor"]


def test_no_heads_and_all_features_is_the_hub_graph_itself() -> None:
    hub = hub_of(DEEP)
    assert serialised(attach(hub, [], layers=FOUR)) == serialised(hub)
    with pytest.raises(RequestError, match="nothing to compute"):
        attach(hub, [], features=False)


def test_the_same_files_give_the_same_bytes_and_say_what_they_are(tmp_path: Path) -> None:
    heads = [KINDS[kind](tmp_path, DEEP) for kind in ("onnx", "labels", "depth")]
    again = [read_head(head.name, Path(head.path)) for head in heads]
    first, second = (attach(hub_of(DEEP), each) for each in (heads, again))
    assert serialised(first) == serialised(second)
    assert '"classes": ["floor", "wall", "thing"]' in first.metadata_props[METADATA]
    assert str(tmp_path) not in first.metadata_props[METADATA]


def test_a_layer_that_was_not_exported_is_named(tmp_path: Path) -> None:
    head = made.segmentation(tmp_path, 128, layers=(1, 3))
    with pytest.raises(HeadError, match="patches_1"):
        attach(attach(hub_of(DEEP), []), [head])


def test_odd_maps_are_padded_as_by_meta(tmp_path: Path) -> None:
    """Rows 5 and 3 patches: halves round up, and the skip is resized to what came back larger."""
    head = made.depth(tmp_path, widths(DEEP), FOUR)
    size = Size(80, 48)
    backbone = exported(DEEP, size, layers=FOUR)
    outputs = features_of(open_session(attach(backbone.graph, [head], layers=FOUR)), backbone.frames)
    expected, actual = on_its_own_features(outputs, head, backbone.frames)
    require_alike(expected, actual)
    assert actual["depth"].shape == (1, 80, 48)


def test_what_the_graph_gives_can_be_measured(tmp_path: Path) -> None:
    heads = [KINDS[kind](tmp_path, DEEP) for kind in ("linear", "labels", "depth")]
    expected, actual, _ = both(DEEP, heads)
    for head in heads:
        meter = TaskMeter(head.name, head.output, classes=len(head.classes))
        meter.add(expected[head.name], actual[head.name])
        summary = meter.summary()
        assert not summary.classes or summary.classes.agreement == 1
        assert not summary.masks or summary.masks.mean_iou > 0.99
        assert not summary.depths or summary.depths.relative_error < 1e-4


def test_a_head_named_like_a_tensor_of_the_backbone_is_refused(tmp_path: Path) -> None:
    hub = hub_of(DEEP)
    names = [name_of(node.outputs[0]) for node in hub.graph]
    name = next(name for name in names if name.isidentifier() and name.islower())
    with pytest.raises(RequestError, match=f"cannot be called {name}"):
        attach(hub, [made.linear(tmp_path, 64, name=name)])
