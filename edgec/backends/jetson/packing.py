"""What device/bundle.json says of graphs and boards of NVIDIA's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgec.backends.candidate import Candidate
from edgec.backends.jetson.profile import JetsonProfile
from edgec.lowering.tensorrt.lowering import CAPABILITY, TENSORRT


def graph_facts(variant: Candidate) -> Mapping[str, Any]:
    """The versions of TensorRT that take a graph, and the least compute capability."""
    return {
        "tensorrt": dict(zip(("min", "below"), TENSORRT[variant.variant], strict=True)),
        "compute_capability": CAPABILITY.get(variant.variant, ""),
    }


def board_of(profile: JetsonProfile) -> Mapping[str, Any]:
    """A board as bundle.json describes it."""
    board = profile.jetson
    return {
        "profile": profile.name,
        "title": profile.title,
        "compatible": list(board.compatible),
        "compute_capability": board.compute_capability,
        "jetpack": [release.version for release in board.jetpack],
        "tensorrt": {"min": board.tensorrt.min, "below": board.tensorrt.below},
    }
