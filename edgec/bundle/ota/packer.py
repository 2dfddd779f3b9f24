"""What a form for an OTA tool is made of and from; see `registry`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from edgec.errors import ArtefactError, MissingPackage, RequestError
from edgec.onboard.container import SUFFIX
from edgec.onboard.trust import Release

Kind = Literal["file", "text"]


@dataclass(frozen=True)
class Setting:
    """What a tool's form needs to be told: the option `--TOOL-NAME`. A `file` is a path that exists. One that may be given more
    than once (`many`) is a tuple."""

    name: str
    help: str
    kind: Kind = "file"
    metavar: str = "FILE"
    required: bool = False
    many: bool = False


Given = Mapping[str, Any]
"""Values by the names of a packer's settings: `Path` or `str`, or a tuple of these; None or `()` where none was given."""


@dataclass(frozen=True)
class Payload:
    """The signed bundle, whose name is NAME-VERSION.edgec-bundle or what the user calls it, and what it says of itself."""

    bundle: Path
    release: Release


class Packer(Protocol):
    """A tool's form. Importing its module imports nothing outside edgec and Python's standard library."""

    name: str
    """As in `--for NAME`."""
    title: str
    """As people call the tool."""
    suffix: str
    """Of the file that is written beside the bundle, with its dot."""
    settings: Sequence[Setting]

    def check(self, given: Given) -> None:
        """Before anything is made: that the programs are there, that keys can be read and fit.

        Raises `RequestError` for a setting that cannot be used, and `MissingPackage` for a program (`require_program`).
        """

    def pack(self, payload: Payload, given: Given, output: Path, work: Path) -> None:
        """Write the file at `output`, which nobody else sees yet. `work` is an empty folder on the same file system; it is
        removed afterwards. Raises `EdgecError` and `OSError`."""


@dataclass(frozen=True)
class Wish:
    """That a form be written beside a bundle."""

    packer: Packer
    given: Given

    def check(self) -> None:
        """As `Packer.check`; raises `RequestError` for what is required and was not given, too."""
        settings = [setting for setting in self.packer.settings if setting.required and not self.given.get(setting.name)]
        if settings:
            missing = {f"--{self.packer.name}-{setting.name}": setting.help for setting in settings}
            raise RequestError(
                f"What is made for {self.packer.title} needs {' and '.join(missing)}.",
                evidence=[f"{option}: {text[0].lower()}{text[1:]}" for option, text in missing.items()],
                remedy="give them; `edgec bundle make --help` lists all options",
            )
        self.packer.check(self.given)

    def place(self, output: Path) -> Path:
        """Where the form goes: beside the bundle, under its name."""
        return output.with_name(output.name.removesuffix(SUFFIX) + self.packer.suffix)

    def pack(self, payload: Payload, output: Path, work: Path) -> Path:
        """Write the form into the folder `work`, under its later name. Raises as `Packer.pack`, and `ArtefactError` if nothing
        was written."""
        made, scratch = work / self.place(output).name, work / f"for-{self.packer.name}"
        scratch.mkdir()
        self.packer.pack(payload, self.given, made, scratch)
        shutil.rmtree(scratch)
        if not made.is_file() or not made.stat().st_size:
            raise ArtefactError(f"{self.packer.title}'s file was not written.")
        return made


def require_program(program: str, package: str, what: str) -> str:
    """The path of a program. Raises `MissingPackage` with the name of Debian's package that has it. `what` needs it, as the
    beginning of a sentence."""
    path = shutil.which(program)
    if path is None:
        raise MissingPackage(
            f"{what} needs the program {program}, which is not installed.",
            evidence="it is not in any folder of PATH",
            remedy=f"install it; on Debian and Ubuntu: apt install {package}",
        )
    return path
