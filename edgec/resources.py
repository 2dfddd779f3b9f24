"""Where the folders that are shipped with edgec are: inside the installed wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgec.errors import EdgecError

_PACKAGE = Path(__file__).resolve().parent


def room(name: Literal["targets", "calibration"]) -> Path:
    """The folder of that name. Raises `EdgecError` if neither a wheel's nor a checkout's exists."""
    places = (_PACKAGE / "_data" / name, _PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise EdgecError(
        f"edgec's own {name} folder is missing: the installation is incomplete.",
        evidence=[f"looked for {place}" for place in places],
        remedy="install edgec again, from a wheel or from a whole checkout",
    )
