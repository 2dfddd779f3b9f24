"""Programs that go with an artefact to its device: one archive each, which Python runs, the same bytes every time.

Which families have one is for their backends to say (`Backend.program`). Each carries what boards and the workstation have in
common, `edgec.onboard`, under the name `edgec_onboard`.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from edgec import onboard
from edgec.errors import EdgecError
from edgec.resources import room

BUNDLE = "device/bundle.json"
SHEBANG = b"#!/usr/bin/env python3\n"
COMMON = "edgec_onboard"
STEPS = "edgec_device"
"""The steps that every board goes through, in `targets/device`."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The zip format's first date."""
_MODE = 0o100644 << 16


@dataclass(frozen=True)
class BoardProgram:
    """`path` is where the archive lies in an artefact. Its sources are `__main__.py` and the package `package` in `folder`, and
    packages that it shares with other programs, which it `carries`: their names and folders. `document` is the bundle.json by
    which `edgec deploy` speaks to it; empty if it does not run over ssh. `recorded`: its boards run the artefact's files as they
    are, and compare heads' outputs with what was recorded of them."""

    path: str
    package: str
    folder: Path
    document: str = ""
    carries: tuple[tuple[str, Path], ...] = ()
    recorded: bool = False

    @classmethod
    def with_steps(cls, path: str, package: str, family: str, *, recorded: bool = False) -> BoardProgram:
        """The program in `targets/<family>/device`, which carries `STEPS` and is told about its artefact by bundle.json. Raises
        `EdgecError` if the `targets` folder is missing from this installation."""
        targets = room("targets")
        return cls(path, package, targets / family / "device", BUNDLE, ((STEPS, targets / "device"),), recorded)

    def sources(self) -> dict[str, bytes]:
        """The files in the archive, by name. Raises `EdgecError` if they are missing from this installation."""
        paths = [self.folder / "__main__.py", *sorted((self.folder / self.package).glob("*.py"))]
        files = {path.relative_to(self.folder).as_posix(): path for path in paths}
        for package, folder in self.carries:
            files |= {path.relative_to(folder).as_posix(): path for path in sorted((folder / package).glob("*.py"))}
        files |= {f"{COMMON}/{path.name}": path for path in sorted(Path(onboard.__file__).parent.glob("*.py"))}
        if len(paths) < 2 or not all(path.is_file() for path in files.values()):
            raise EdgecError(
                "The program for the device is missing: the installation is incomplete.",
                evidence=f"looked in {self.folder}",
                remedy="install edgec, or the package that adds this family, again: from a wheel or from a whole checkout",
            )
        return {name: path.read_bytes() for name, path in files.items()}

    def archive(self) -> bytes:
        """The program as this installation has it. Raises as `sources`."""
        buffer = io.BytesIO()
        buffer.write(SHEBANG)
        # Appended: readers of an archive skip what stands before it. Stored, because compressed bytes differ between versions of
        # zlib.
        with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
            for name, content in self.sources().items():
                member = zipfile.ZipInfo(name, _EPOCH)
                member.create_system = 3
                member.external_attr = _MODE
                archive.writestr(member, content)
        return buffer.getvalue()

    def write(self, artefact: Path) -> Path:
        """Write the archive into an artefact that is in the making; returns its path. Raises as `sources`."""
        path = artefact / self.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(self.archive())
        path.chmod(0o755)
        return path

    def unpack(self, folder: Path) -> None:
        """The program as a folder, which Python runs as it runs the archive: for type checkers, and for tests."""
        for name, content in self.sources().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
