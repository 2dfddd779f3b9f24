"""What goes to a Jetson with an artefact: the program that builds engines there."""

from __future__ import annotations

from edgec.backends.program import BoardProgram

PROGRAM = "device/edgec-device.pyz"


def jetson_program() -> BoardProgram:
    """Raises `EdgecError` if the `targets` folder is missing from this installation."""
    return BoardProgram.with_steps(PROGRAM, "edgec_jetson", "jetson")
