"""Whether figures may be called `measured on target`: only on a board of the bundle's, with nothing about it pretended."""

from __future__ import annotations

from pathlib import Path

from edgec_device.system import VARIABLE, System
from edgec_device.trtexec import Trtexec

_PLAN = b"ftrt"
"""What serialised engines begin with (NVIDIA/TensorRT, samples/common/sampleEngines.cpp, printPlanVersion)."""
_HEAD = 4096


def doubts(system: System, trtexec: Trtexec, *, here: bool = False) -> list[str]:
    """Why nothing that this run measures is a fact about the board, a sentence each. Empty on a board with NVIDIA's trtexec; and
    `here`, which claims nothing about a board, with edgec's own program in its place, too."""
    pretended = [f"the facts about the board come from {system.root} ({VARIABLE} is set)"] if not system.real else []
    measured = ["edgec's own program measured, not NVIDIA's trtexec"] if trtexec.substitute and not here else []
    return pretended + measured + trtexec.doubts


def engine_doubts(engine: Path) -> list[str]:
    with engine.open("rb") as file:
        head = file.read(_HEAD)
    if not head.startswith(_PLAN):
        return [f"{engine.name} does not begin like an engine of TensorRT's"]
    return [f"{engine.name} was made by a stand-in for trtexec"] if b"stand-in" in head else []
