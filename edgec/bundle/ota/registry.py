"""The OTA tools that a bundle can be made for. A new one is a module with a `Packer`, and a line here."""

from __future__ import annotations

from edgec.bundle.ota.mender import Mender
from edgec.bundle.ota.packer import Packer
from edgec.bundle.ota.rauc import Rauc
from edgec.bundle.ota.swupdate import SwUpdate

_ALL: tuple[Packer, ...] = (Rauc(), SwUpdate(), Mender())
PACKERS: dict[str, Packer] = {packer.name: packer for packer in _ALL}
"""By the name that `--for` takes."""
