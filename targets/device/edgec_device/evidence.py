"""Whether figures may be called `measured on target`: only on one of the bundle's boards, with nothing about it simulated."""

from __future__ import annotations

from edgec_device.system import VARIABLE, System
from edgec_device.tool import Tool


def doubts(system: System, tool: Tool) -> list[str]:
    """Why this run's figures are not facts about the board, a sentence each. Empty on a board with the real runtime."""
    simulated = [f"the facts about the board come from {system.root} ({VARIABLE} is set)"] if not system.real else []
    return [*simulated, *tool.doubts]
