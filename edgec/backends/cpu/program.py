"""What goes to a machine that computes on its CPU: the program that runs models there, which carries the steps of all boards."""

from __future__ import annotations

from edgec.backends.bundling import BUNDLE
from edgec.backends.jetson.program import jetson_program
from edgec.backends.program import BoardProgram
from edgec.resources import room

PROGRAM = "device/edgec-cpu.pyz"


def cpu_program() -> BoardProgram:
    """Raises `EdgecError` if the `targets` folder is missing from this installation."""
    steps = jetson_program()
    return BoardProgram(
        PROGRAM, "edgec_cpu", room("targets") / "cpu" / "device", document=BUNDLE, carries=((steps.package, steps.folder),)
    )
