"""What goes to a machine that computes on its CPU: the program that runs models there."""

from __future__ import annotations

from edgec.backends.program import BoardProgram

PROGRAM = "device/edgec-cpu.pyz"


def cpu_program() -> BoardProgram:
    """Raises `EdgecError` if the `targets` folder is missing from this installation."""
    return BoardProgram.with_steps(PROGRAM, "edgec_cpu", "cpu")
