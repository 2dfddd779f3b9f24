"""Where a number comes from. Every figure in a manifest or a report carries one of these, or is absent."""

from __future__ import annotations

from enum import Enum


class Evidence(str, Enum):
    """The kinds, from the strongest to the weakest."""

    TARGET = "measured on target"
    """Run on a machine that has all that the target's profile asks for: the board itself, or a CPU of its kind."""
    HOST = "measured on host"
    """Run on another machine than the target: its features count, its latencies say nothing about the target."""
    COMPILED = "compiled on host"
    """What the vendor's own compiler said of the graph on the machine that built the artefact: kernels, bytes, types. Not run."""
    EMULATED = "emulated on host"
    """Run by the target's own machine code under an emulator: what it computes counts, how long it took does not."""
    SIMULATED = "simulated on host"
    """The target's arithmetic imitated by another runtime."""
    ESTIMATED = "estimated"
    """Calculated from data sheets."""
