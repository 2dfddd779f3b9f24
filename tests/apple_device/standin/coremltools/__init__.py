"""A stand-in for coremltools on a Mac, for tests of the program that runs there. Never shipped.

Packages are run by edgec's own evaluator, with numpy. The environment variable STANDIN_FAULTS, `FAULT@UNITS,…`, plants what goes
wrong on compute units: `nan`, `wrong`, `blind`, `shape`, `labels`, `float`, `crash` while the golden frames run, `crash-bench`
while it is measured, `refuse` and `hang` while it is loaded, `no-plan`; `refuse-compile` needs no units.
"""

from __future__ import annotations

import os
from enum import Enum


class ComputeUnit(Enum):
    ALL = 1
    CPU_AND_GPU = 2
    CPU_ONLY = 3
    CPU_AND_NE = 4


def planted(fault: str, units: ComputeUnit | None = None) -> bool:
    wanted = fault if units is None else f"{fault}@{units.name}"
    return wanted in os.environ.get("STANDIN_FAULTS", "").split(",")
