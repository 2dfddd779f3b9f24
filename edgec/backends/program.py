"""The programs that go with an artefact to the device: one archive that Python runs, the same bytes each time.

A Jetson's builds engines of the artefact's graphs; a Mac's measures its Core ML package on each compute unit. Each carries what
boards and the workstation have in common, `edgec.onboard`, under the name `edgec_onboard`.
"""

from __future__ import annotations

import io
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from edgec import onboard
from edgec.errors import EdgecError
from edgec.resources import room

PROGRAM = "device/edgec-device.pyz"
MAC_PROGRAM = "device/edgec-mac.pyz"
BUNDLE = "device/bundle.json"
"""What a Jetson's program is told."""
MAC_FACTS = "device/mac.json"
"""What a Mac's is told."""
SHEBANG = b"#!/usr/bin/env python3\n"
COMMON = "edgec_onboard"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The zip format's first date."""
_MODE = 0o100644 << 16


@dataclass(frozen=True)
class _Program:
    """`package` lies with `__main__.py` in `targets/<family>/device/`."""

    path: str
    package: str


_PROGRAMS = {"jetson": _Program(PROGRAM, "edgec_device"), "apple": _Program(MAC_PROGRAM, "edgec_mac")}
"""By family of targets."""


def write_device_program(directory: Path, family: str = "jetson") -> Path:
    """Write the family's program into `device/` of an artefact that is in the making; returns its path.

    Raises `EdgecError` if its sources, `targets/<family>/device/`, are missing from this installation.
    """
    path = directory / _PROGRAMS[family].path
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(device_program(family))
    path.chmod(0o755)
    return path


def program_path(family: str) -> str | None:
    """Where the family's program lies in an artefact; None for a family that has none."""
    return _PROGRAMS[family].path if family in _PROGRAMS else None


def device_program(family: str = "jetson") -> bytes:
    """This edgec's own program. Raises `EdgecError` as `program_sources`."""
    made = io.BytesIO()
    made.write(SHEBANG)
    # Appended to: what stands before an archive does not disturb its readers. Stored, because compressed bytes differ between
    # versions of zlib.
    with zipfile.ZipFile(made, "a", zipfile.ZIP_STORED) as archive:
        for name, content in program_sources(family).items():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = 3
            member.external_attr = _MODE
            archive.writestr(member, content)
    return made.getvalue()


def program_sources(family: str = "jetson") -> dict[str, bytes]:
    """What the family's program is made of, by name in its archive; nothing for a family that has none. Raises `EdgecError` if it
    is missing from this installation."""
    if family not in _PROGRAMS:
        return {}
    folder, common = room("targets") / family / "device", Path(onboard.__file__).parent
    own = [folder / "__main__.py", *sorted((folder / _PROGRAMS[family].package).glob("*.py"))]
    found = {path.relative_to(folder).as_posix(): path for path in own}
    found |= {f"{COMMON}/{path.name}": path for path in sorted(common.glob("*.py"))}
    if len(own) < 2 or not all(path.is_file() for path in found.values()):
        raise EdgecError(
            "The program for the device is missing: edgec's installation is incomplete.",
            evidence=f"looked in {folder}",
            remedy="install edgec again, from a wheel or from a whole checkout",
        )
    return {name: path.read_bytes() for name, path in found.items()}


def unpack_program(family: str, folder: Path) -> None:
    """The family's program as a folder, which Python runs as it runs the archive: for type checkers, and for tests."""
    for name, content in program_sources(family).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    for each in _PROGRAMS:
        unpack_program(each, Path(sys.argv[1]) / each)
