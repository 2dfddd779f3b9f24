"""What goes to a Mac with an artefact: the program that measures the package there, and mac.json, which tells it what to
expect."""

from __future__ import annotations

from edgec.backends.program import BoardProgram
from edgec.resources import room

MAC_PROGRAM = "device/edgec-mac.pyz"
MAC_FACTS = "device/mac.json"


def mac_program() -> BoardProgram:
    """Raises `EdgecError` if the `targets` folder is missing from this installation."""
    return BoardProgram(MAC_PROGRAM, "edgec_mac", room("targets") / "apple" / "device")
