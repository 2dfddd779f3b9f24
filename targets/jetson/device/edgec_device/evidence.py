"""Whether figures may be called `measured on target`: only if nothing about the board or trtexec was pretended."""

from __future__ import annotations

from pathlib import Path

from edgec_device.system import VARIABLE, System
from edgec_device.trtexec import Trtexec

TARGET = "measured on target"
SIMULATED = "simulated on host"

_PLAN = b"ftrt"
"""What serialised engines begin with (NVIDIA/TensorRT, samples/common/sampleEngines.cpp, printPlanVersion)."""
_HEAD = 4096


def doubts(system: System, trtexec: Trtexec) -> list[str]:
    """Why nothing that this run measures is a fact about the board, a sentence each. Empty on a board with NVIDIA's trtexec."""
    pretended = [f"the facts about the board come from {system.root} ({VARIABLE} is set)"] if not system.real else []
    return pretended + trtexec.doubts


def engine_doubts(engine: Path) -> list[str]:
    with engine.open("rb") as file:
        head = file.read(_HEAD)
    if not head.startswith(_PLAN):
        return [f"{engine.name} does not begin like an engine of TensorRT's"]
    return [f"{engine.name} was made by a stand-in for trtexec"] if b"stand-in" in head else []


def grade(found: list[str]) -> str:
    return SIMULATED if found else TARGET
