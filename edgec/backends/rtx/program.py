"""What goes to a machine with an RTX GPU: the program that runs engines there, which carries the steps of that for Jetsons."""

from __future__ import annotations

from edgec.backends.bundling import BUNDLE
from edgec.backends.jetson.program import jetson_program
from edgec.backends.program import BoardProgram
from edgec.resources import room

PROGRAM = "device/edgec-rtx.pyz"


def rtx_program() -> BoardProgram:
    """Raises `EdgecError` if the `targets` folder is missing from this installation."""
    steps = jetson_program()
    return BoardProgram(
        PROGRAM, "edgec_rtx", room("targets") / "rtx" / "device", document=BUNDLE, carries=((steps.package, steps.folder),)
    )
