"""Which operations add to the residual stream."""

from __future__ import annotations

from edgec.graph.operations import operations
from edgec.graph.residual import residual_writers
from tests.support.models import CONVNEXT, SWIGLU, VIT, exported


def test_a_block_of_a_vit_adds_twice() -> None:
    assert residual_writers(exported(VIT).graph) == (
        "blocks.0.attn.proj",
        "blocks.0.mlp.fc2",
        "blocks.1.attn.proj",
        "blocks.1.mlp.fc2",
    )


def test_a_gated_mlp_adds_with_its_last_projection() -> None:
    assert [name for name in residual_writers(exported(SWIGLU).graph) if ".mlp." in name] == [
        "blocks.0.mlp.down",
        "blocks.1.mlp.down",
    ]


def test_a_convnext_block_adds_once_and_what_makes_a_stage_begins_the_stream() -> None:
    hub = exported(CONVNEXT).graph
    actual = residual_writers(hub)
    blocks = [entry.name for entry in operations(hub) if entry.name.endswith(".fc2")]
    assert [name for name in actual if ".blocks." in name] == blocks
    # The stem's norm is behind its convolution, those of the others before theirs.
    assert [name for name in actual if name not in blocks] == [f"stages.{stage}.downsample" for stage in (1, 2, 3)]
