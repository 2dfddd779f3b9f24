"""Packages that a board lacks, which `edgec deploy` brings along: pip on this machine chooses the wheels for the board's Python,
architecture and C library, from a folder of wheels or from where pip is configured to look. The board needs neither pip nor a
network.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgec.boards.artefact import BoardArtefact
from edgec.cache import Cache, key
from edgec.durable import sha256_of
from edgec.errors import ArtefactError, BoardRuntimeMissing
from edgec.records.reading import printable
from edgec.untrusted import parse_json_object

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+!]{0,40}")
_MACOS = re.compile(r"(\d{1,3})(?:\.\d{1,3}){0,2}")
_FIRST_MACOS = 11
"""The first on Apple silicon; since then wheels name its first number alone."""
_GLIBC = re.compile(r"glibc (\d{1,2})\.(\d{1,3})")
_MACHINE = re.compile(r"[a-z0-9_]{1,20}")
_OLDEST_GLIBC = 17
"""The oldest that wheels are made for (PEP 599)."""
_PIP_S = 1800.0
_SHOWN = 6


@dataclass(frozen=True)
class Machine:
    """What a board says of itself: its Python, `platform.machine()`, the minor version of glibc 2 (None for another C library),
    and the runtimes that are there, by name with their versions, and that are missing. `macos` is the first number of a Mac's."""

    title: str
    python: tuple[int, int]
    architecture: str
    glibc: int | None
    runtimes: dict[str, str]
    missing: tuple[str, ...]
    macos: int | None = None

    @classmethod
    def parse(cls, answer: dict[str, Any]) -> Machine:
        """From the event `machine`. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
        major, minor = (int(part) for part in answer["python"])
        architecture, libc = str(answer["machine"]), _GLIBC.match(str(answer["libc"]))
        if not _MACHINE.fullmatch(architecture) or not (major, minor) < (4, 100):
            raise ValueError(f"no machine: {architecture[:40]!r}, Python {major}.{minor}")
        glibc = int(libc.group(2)) if libc and libc.group(1) == "2" else None
        runtimes = {str(name): str(version) for name, version in answer["runtimes"].items()}
        missing = tuple(str(name) for name in answer["missing"])
        mac = _MACOS.fullmatch(str(answer.get("macos")))
        macos = int(mac.group(1)) if mac else None
        return cls(str(answer["title"]), (major, minor), architecture, glibc, runtimes, missing, macos)

    @property
    def system(self) -> str:
        """What wheels must fit, in words."""
        libc = "another C library" if self.glibc is None else f"glibc 2.{self.glibc}"
        return f"on {self.architecture}, {libc if self.macos is None else f'macOS {self.macos}'}"

    @property
    def platforms(self) -> list[str]:
        """The tags of wheels that run there, the newest first. pip knows the older ones of macOS by itself."""
        if self.macos is not None:
            return [f"macosx_{max(self.macos, _FIRST_MACOS)}_0_{self.architecture}"]
        if self.glibc is None:
            return [f"linux_{self.architecture}"]
        tags = [f"manylinux_2_{minor}_{self.architecture}" for minor in range(self.glibc, _OLDEST_GLIBC - 1, -1)]
        return [*tags, f"manylinux2014_{self.architecture}", f"linux_{self.architecture}"]


@dataclass(frozen=True)
class Packages:
    """Wheels to bring along, and the runtimes for which there are none, with the reason."""

    wheels: tuple[Path, ...]
    refused: dict[str, str]

    @property
    def size_bytes(self) -> int:
        """Of the wheels."""
        return sum(wheel.stat().st_size for wheel in self.wheels)


def requirements(artefact: BoardArtefact) -> dict[str, list[str]]:
    """The packages that an artefact's runtimes are, by the runtime's name, as pip takes them: those that it was built with. Empty
    where the board's own software runs it. Raises `ArtefactError` for names that no package has."""
    variants = parse_json_object(artefact.document)["variants"]
    runtimes = {
        str(each["runtime"]): [str(package) for package in each.get("packages", [f"{each['runtime']}=={each['version']}"])]
        for each in variants
        if "runtime" in each
    }
    for package in (package for packages in runtimes.values() for package in packages):
        name, equal, version = package.partition("==")
        if not _NAME.fullmatch(name) or (equal and not _VERSION.fullmatch(version)):
            raise ArtefactError(f"{printable(package)[:100]} is no package.", remedy="build the artefact again")
    return runtimes


def collect(machine: Machine, runtimes: dict[str, list[str]], folder: Path | None) -> Packages:
    """Wheels of these runtimes for that machine, with what they need: from `folder` alone, or from where pip is configured to
    look; those are kept in edgec's cache. A runtime that has none is left out.

    Raises `BoardRuntimeMissing` if none has.
    """
    together, _ = _download(machine, runtimes, folder)
    if together:
        return Packages(tuple(together), {})
    # A runtime may have no wheel for an old Python or C library, and must not keep the other from the board.
    found: dict[str, list[Path]] = {}
    refused: dict[str, str] = {}
    for name, needed in runtimes.items():
        wheels, problem = _download(machine, {name: needed}, folder)
        if wheels:
            found[name] = wheels
        else:
            refused[name] = problem
    if not found:
        where = f"in {folder}" if folder else "where pip looks"
        raise BoardRuntimeMissing(
            f"No runtime of this artefact can be brought to {printable(machine.title)[:60]}: there is no wheel for it {where}.",
            evidence=[
                f"Python {machine.python[0]}.{machine.python[1]} {machine.system}",
                *(f"{name}: {problem}" for name, problem in refused.items()),
            ],
            remedy="give a folder of wheels for the board with --wheels, or install the runtime there",
        )
    first, *others = found.values()
    names = {wheel.name.partition("-")[0] for wheel in first}
    # Two versions of what both need (numpy) cannot be in one environment: the first runtime's counts.
    more = [wheel for wheels in others for wheel in wheels if wheel.name.partition("-")[0] not in names]
    return Packages((*first, *more), refused)


def bring(artefact: BoardArtefact, packages: Packages) -> BoardArtefact:
    """The artefact with packages that the board's program unpacks before anything else."""
    wheels = [{"path": wheel.name, "sha256": sha256_of(wheel), "size_bytes": wheel.stat().st_size} for wheel in packages.wheels]
    files: dict[str, Path | bytes] = {**artefact.files, **{wheel.name: wheel for wheel in packages.wheels}}
    if artefact.delivery is not None:
        return replace(artefact, delivery=replace(artefact.delivery, wheels=tuple(wheels)), files=files)
    document = {**parse_json_object(artefact.document), "wheels": wheels}
    return replace(artefact, document=(json.dumps(document, indent=1) + "\n").encode(), files=files)


def described(packages: Packages) -> str:
    """Names, versions and the size, for people."""
    names = [" ".join(wheel.name.split("-")[:2]) for wheel in packages.wheels]
    return f"{', '.join(names)} ({packages.size_bytes / 1e6:.1f} MB)"


def _download(machine: Machine, runtimes: dict[str, list[str]], folder: Path | None) -> tuple[list[Path], str]:
    """The wheels, and why there are none."""
    wanted = sorted({package for packages in runtimes.values() for package in packages})
    there = sorted((path.name, path.stat().st_size) for path in folder.glob("*.whl")) if folder else None
    try:
        kept = Cache().stage(
            "wheels",
            key(machine.python, machine.platforms, wanted, there),
            lambda work: _pip_download(machine, wanted, folder, work),
        )
    except _NoWheels as error:
        return [], str(error)
    return sorted(kept.glob("*.whl")), ""


class _NoWheels(Exception):
    """pip's words."""


def _pip_download(machine: Machine, wanted: Sequence[str], folder: Path | None, work: Path) -> None:
    major, minor = machine.python
    abis = (f"cp{major}{minor}", "abi3", "none")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", f"{major}.{minor}"]
    command += [part for abi in abis for part in ("--abi", abi)]
    command += [part for platform in machine.platforms for part in ("--platform", platform)]
    command += ["--no-index", "--find-links", str(folder.absolute())] if folder else []
    try:
        done = subprocess.run([*command, "--dest", str(work), *wanted], capture_output=True, timeout=_PIP_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NoWheels(f"pip did not end: {error}") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise _NoWheels(printable(" ".join(errors[-_SHOWN:]))[:400] or f"pip ended with exit code {done.returncode}")
