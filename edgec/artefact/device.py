"""The program that goes with a Jetson artefact to the robot: one archive that Python runs, the same bytes each time."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgec.errors import EdgecError
from edgec.resources import room

PROGRAM = "device/edgec-device.pyz"
SHEBANG = b"#!/usr/bin/env python3\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The zip format's first date."""
_MODE = 0o100644 << 16


def write_device_program(directory: Path) -> Path:
    """Write the program into `device/` of an artefact that is in the making; returns its path.

    Raises `EdgecError` if its sources, `targets/jetson/device/`, are missing from this installation.
    """
    path = directory / PROGRAM
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(SHEBANG)
    # Appended to: what stands before an archive does not disturb its readers. Stored, because compressed bytes differ between
    # versions of zlib.
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        for name, content in program_sources().items():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = 3
            member.external_attr = _MODE
            archive.writestr(member, content)
    path.chmod(0o755)
    return path


def program_sources() -> dict[str, bytes]:
    """What the program is made of, by name in its archive. Raises `EdgecError` if it is missing from this installation."""
    folder = room("targets") / "jetson" / "device"
    paths = [folder / "__main__.py", *sorted((folder / "edgec_device").glob("*.py"))]
    if not all(path.is_file() for path in paths) or len(paths) < 2:
        raise EdgecError(
            "The program for the robot is missing: edgec's installation is incomplete.",
            evidence=f"looked in {folder}",
            remedy="install edgec again, from a wheel or from a whole checkout",
        )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
