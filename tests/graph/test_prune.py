"""What no output needs is gone, and what is left computes the same."""

from __future__ import annotations

import numpy as np

from edgec.graph.passes.prune import prune
from edgec.graph.session import features_of, open_session
from tests.support.models import VIT, exported


def test_what_no_output_needs_is_gone() -> None:
    made = exported(VIT, layers=(0,))
    hub = made.hub
    nodes = len(hub.graph.node)
    prune(hub.graph)
    assert hub.SerializeToString(deterministic=True) == made.content, "there is nothing to take out"
    early = next(value for value in hub.graph.output if value.name == "patches_0")
    for value in [value for value in hub.graph.output if value != early]:
        hub.graph.output.remove(value)
    prune(hub.graph)
    assert len(hub.graph.node) < 0.7 * nodes
    read = {name for node in hub.graph.node for name in node.input}
    assert {entry.name for entry in hub.graph.initializer} <= read
    assert not [node.name for node in hub.graph.node if node.name.startswith("blocks.1.")]
    made_here = {name for node in hub.graph.node for name in node.output}
    assert {value.name for value in hub.graph.value_info} <= read | made_here
    found = features_of(open_session(hub), made.frames)
    assert list(found) == ["patches_0"]
    expected = made.expected["patches_0"]
    np.testing.assert_allclose(found["patches_0"], expected, atol=1e-4 * np.abs(expected).max())
