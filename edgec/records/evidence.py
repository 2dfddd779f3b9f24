"""Where a number comes from. Every figure in a manifest or a report carries one of these, or is absent."""

from __future__ import annotations

from enum import Enum


class Evidence(str, Enum):
    """The kinds, from the strongest to the weakest."""

    TARGET = "measured on target"
    """Run on the very board that the artefact is for."""
    HOST = "measured on host"
    """Run on the machine that built the artefact. For a CPU target that may be the same kind of machine; the report says so."""
    COMPILED = "compiled on host"
    """What the vendor's own compiler said of the graph on the machine that built the artefact: kernels, bytes, types. Not run."""
    EMULATED = "emulated on host"
    """Run by the target's own machine code under an emulator: what it computes counts, how long it took does not."""
    SIMULATED = "simulated on host"
    """The target's arithmetic imitated by another runtime."""
    ESTIMATED = "estimated"
    """Calculated from data sheets."""
