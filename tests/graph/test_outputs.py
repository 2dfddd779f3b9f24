"""Other outputs, and what no output needs is gone: what is left computes the same."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgec.graph.files import serialised
from edgec.graph.passes.base import BrokenPromise, rewritten
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.session import features_of, open_session
from tests.support.models import VIT, exported


def test_what_no_output_needs_is_removed() -> None:
    made = exported(VIT, layers=(0,))
    hub = ir.to_proto(rewritten(made.graph, GiveOnly(["patches_0"])))
    assert len(hub.graph.node) < 0.7 * len(made.hub.graph.node)
    read = {name for node in hub.graph.node for name in node.input}
    assert {entry.name for entry in hub.graph.initializer} <= read
    assert not [node.name for node in hub.graph.node if node.name.startswith("blocks.1.")]
    made_here = {name for node in hub.graph.node for name in node.output}
    assert {value.name for value in hub.graph.value_info} <= read | made_here
    actual = features_of(open_session(hub), made.frames)
    assert list(actual) == ["patches_0"]
    expected = made.expected["patches_0"]
    np.testing.assert_allclose(actual["patches_0"], expected, atol=1e-4 * np.abs(expected).max())


def test_there_may_be_nothing_to_remove() -> None:
    made = exported(VIT, layers=(0,))
    assert serialised(rewritten(made.graph, GiveOnly(["cls", "patches", "patches_0"]))) == made.content


def test_inner_tensors_may_be_outputs_in_any_order() -> None:
    made = exported(VIT)
    names = ["blocks.1.norm1", "cls", "blocks.0.add"]
    actual = features_of(open_session(rewritten(made.graph, GiveOnly(names))), made.frames)
    assert list(actual) == names
    np.testing.assert_allclose(actual["cls"], made.expected["cls"], atol=1e-4 * np.abs(made.expected["cls"]).max())


@pytest.mark.parametrize(("name", "words"), [("nowhere", "nothing makes nowhere"), ("blocks.0.add", "shape of blocks.0.add")])
def test_unknown_outputs_are_named(name: str, words: str) -> None:
    hub = exported(VIT).graph
    next(value for node in hub.graph for value in node.outputs if value.name == "blocks.0.add").shape = None
    with pytest.raises(BrokenPromise, match="GiveOnly cannot work on this graph") as caught:
        GiveOnly([name])(hub)
    assert words in caught.value.evidence[0]
