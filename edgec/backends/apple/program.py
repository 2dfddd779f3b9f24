"""What goes to a Mac: the program that runs the package there, on each compute unit."""

from __future__ import annotations

from edgec.backends.program import BoardProgram

MAC_PROGRAM = "device/edgec-mac.pyz"
OLD_FACTS = "device/mac.json"
"""What an earlier edgec wrote instead of bundle.json, for a program that did not run over ssh."""


def mac_program() -> BoardProgram:
    """Raises `EdgecError` if the `targets` folder is missing from this installation."""
    return BoardProgram.with_steps(MAC_PROGRAM, "edgec_mac", "apple", recorded=True)
