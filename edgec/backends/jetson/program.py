"""What goes to a Jetson with an artefact: the program that builds engines there, and bundle.json, which tells it what to
build."""

from __future__ import annotations

from edgec.backends.program import BoardProgram
from edgec.resources import room

PROGRAM = "device/edgec-device.pyz"
BUNDLE = "device/bundle.json"


def jetson_program() -> BoardProgram:
    """Raises `EdgecError` if the `targets` folder is missing from this installation."""
    return BoardProgram(PROGRAM, "edgec_device", room("targets") / "jetson" / "device", document=BUNDLE)
