"""What goes to a machine with an RTX GPU: the program that runs engines there."""

from __future__ import annotations

from edgec.backends.program import BoardProgram

PROGRAM = "device/edgec-rtx.pyz"


def rtx_program() -> BoardProgram:
    """Raises `EdgecError` if the `targets` folder is missing from this installation."""
    return BoardProgram.with_steps(PROGRAM, "edgec_rtx", "rtx")
