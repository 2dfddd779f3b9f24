"""Whether figures may be called `measured on target`: only on one of the bundle's boards, with nothing about it simulated."""

from __future__ import annotations

from pathlib import Path

from edgec_device.system import VARIABLE, System
from edgec_device.trtexec import Trtexec

_PLAN = b"ftrt"
"""What serialised engines begin with (NVIDIA/TensorRT, samples/common/sampleEngines.cpp, printPlanVersion)."""
_HEAD = 4096


def doubts(system: System, trtexec: Trtexec, *, here: bool = False) -> list[str]:
    """Why this run's figures are not facts about the board, a sentence each. Empty on a board with NVIDIA's trtexec; with `here`,
    which claims nothing about a board, also with edgec's own program in its place."""
    simulated = [f"the facts about the board come from {system.root} ({VARIABLE} is set)"] if not system.real else []
    substitute = ["edgec's own program measured, not NVIDIA's trtexec"] if trtexec.substitute and not here else []
    return simulated + substitute + trtexec.doubts


def engine_doubts(engine: Path) -> list[str]:
    """Why an engine may not be TensorRT's, a sentence each; empty if nothing suggests that."""
    with engine.open("rb") as file:
        head = file.read(_HEAD)
    if not head.startswith(_PLAN):
        return [f"{engine.name} does not begin like a TensorRT engine"]
    return [f"{engine.name} was made by a stand-in for trtexec"] if b"stand-in" in head else []
