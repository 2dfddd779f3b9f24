"""Whether figures may be called `measured on target`: only on one of the bundle's boards, with nothing about it simulated."""

from __future__ import annotations

from pathlib import Path

from edgec_device.system import VARIABLE, System
from edgec_device.tool import Tool

_PLANS = (b"ftrt", b"vtrt")
"""What serialised engines begin with: TensorRT's (NVIDIA/TensorRT, samples/common/sampleEngines.cpp, printPlanVersion), and
TensorRT-RTX's (seen in engines of 1.7.1)."""
_HEAD = 4096


def doubts(system: System, tool: Tool) -> list[str]:
    """Why this run's figures are not facts about the board, a sentence each. Empty on a board with NVIDIA's own tool."""
    simulated = [f"the facts about the board come from {system.root} ({VARIABLE} is set)"] if not system.real else []
    return [*simulated, *tool.doubts]


def engine_doubts(engine: Path) -> list[str]:
    """Why an engine may not be TensorRT's, a sentence each; empty if nothing suggests that."""
    with engine.open("rb") as file:
        head = file.read(_HEAD)
    if not head.startswith(_PLANS):
        return [f"{engine.name} does not begin like a TensorRT engine"]
    return [f"{engine.name} was made by a stand-in"] if b"stand-in" in head else []
