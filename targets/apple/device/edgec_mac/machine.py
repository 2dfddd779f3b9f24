"""Which Mac this is, and whether the bundle can run on it. Facts come from `sysctl`, `sw_vers` and `pmset`."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from typing import Any, Sequence

from edgec_device.board import Board
from edgec_device.bundle import BoardProfile, Bundle
from edgec_device.errors import NoRuntime
from edgec_device.session import Session
from edgec_device.system import System
from edgec_onboard.errors import WrongBoard
from edgec_onboard.untrusted import printable

from edgec_mac import errors
from edgec_mac.tool import RUNTIME, CoreMl

_WIDTH = 100
"""The most characters of a fact."""
_VIRTUAL = re.compile(r"\s*\(virtual\)$", re.IGNORECASE)
_BUSY = 0.25
"""Other work shows if the load average is above 1 and this share of the cores."""
_NOTE = (
    "A run is a call of coremltools' `predict`: it hands over Pillow images and copies features out, which an app that hands "
    "over its camera's pixel buffers does not pay. Compute units took turns, each time in a process of its own. Percentiles are "
    "nearest-rank; nothing is clipped. Core ML has threads of its own, which `threads` does not count."
)


@dataclass(frozen=True)
class Facts:
    """The facts about a Mac. `chip` is Apple's name for it without "Apple", such as "M4 Pro"."""

    brand: str
    chip: str
    macos: str
    build: str
    physical_cores: int
    logical_cores: int
    memory_bytes: int
    virtual: bool
    translated: bool

    @property
    def system(self) -> str:
        """The version of macOS in words."""
        return f"macOS {self.macos}" + (f" ({self.build})" if self.build else "")

    @property
    def board(self) -> Board:
        """As the steps of all boards know it."""
        cores = max(1, self.logical_cores)
        host = {
            "physical_cores": max(1, self.physical_cores),
            "logical_cores": cores,
            "usable_cores": cores,
            "memory_bytes": self.memory_bytes,
            "virtual_machine": self.virtual,
            "os": self.system,
        }
        return Board((), self.brand, "aarch64", l4t=None, jetpack=None, packages={}, host=host)


class Mac:
    """See `edgec_device.tool.Family`."""

    program = "edgec-mac.pyz"
    description = (
        "Runs the Core ML package of the artefact that it is part of on each compute unit of this Mac (cpuOnly, cpuAndGPU, "
        "cpuAndNeuralEngine, all), and activates the package with the fastest one. A compute unit that does not reproduce the "
        "golden features, and what heads decide, is never activated. Without a COMMAND it does everything, as run-all."
    )
    exit_codes = (errors.__doc__ or "").split("\n", 2)[2]
    option = (
        "--python",
        "PATH",
        "this one, with the packages that `edgec deploy` brought along; then `venv` in --dir, and Homebrew's. coremltools, numpy "
        "and Pillow must be installed in it",
    )
    patient_with = "Core ML"
    tries_fp32 = True
    on_cpu = False
    remedy = "build the bundle for this chip: `edgec targets` lists them"
    hidden: Sequence[str] = ("jetpack", "l4t")

    def identify(self, session: Session) -> None:
        """By sysctl."""
        facts = look(session.system)
        session.board = facts.board
        session.profile, session.foreign = profile_of(facts, session.bundle)
        check(facts, session.profile.macos or session.bundle.least_macos)
        session.tool = CoreMl.find(session, facts.brand, facts.system)

    def look(self, session: Session) -> dict[str, Any]:
        """coremltools' version, and that of macOS, which decides on packages for it."""
        macos = look(session.system).macos
        try:
            self.identify(session)
        except NoRuntime:
            return {"runtimes": {}, "missing": [RUNTIME], "macos": macos}
        return {"runtimes": {RUNTIME: session.tool.versions["coremltools"]}, "missing": [], "macos": macos}

    def describe(self, board: Board) -> str:
        """With its macOS."""
        return f"{board.title}, {board.host['os']}."

    def warnings(self, session: Session) -> list[str]:
        """That its chip is none of the bundle's."""
        return [f"Figures are not about a target: this is {session.board.title}; {session.foreign}."] if session.foreign else []

    def remarks(self, session: Session) -> list[str]:
        """How runs are counted, and other work."""
        load, cores = os.getloadavg()[0], session.board.host["logical_cores"]
        busy = load > 1 + _BUSY * cores
        other = [f"Other work may be running: the load average was {load:.1f} on {cores} cores."] if busy else []
        function = session.bundle.function
        return [_NOTE, *([f"Of the package's functions, {printable(function)} was measured."] if function else []), *other]


def look(system: System) -> Facts:
    """The facts about this Mac. Raises `WrongBoard` if it is not a Mac with Apple silicon."""
    if system.real and sys.platform != "darwin":
        raise WrongBoard(
            "This is not a Mac: Core ML runs only on Apple's devices.",
            evidence=[f"{platform.system()}, {platform.machine()}"],
            remedy="deploy it to a Mac with Apple silicon; `edgec verify` checks the package anywhere",
        )
    brand = _said(system, "sysctl", "-n", "machdep.cpu.brand_string")
    if _said(system, "sysctl", "-n", "hw.optional.arm64") != "1":
        raise WrongBoard(
            "This Mac has no Apple silicon.",
            evidence=[f"its CPU is {brand or 'unknown'}"],
            remedy="use a Mac with an Apple chip: M1 or later",
        )
    chip = _VIRTUAL.sub("", brand)
    return Facts(
        brand=brand or "unknown",
        chip=(chip[len("Apple ") :] if chip.startswith("Apple ") else chip).strip(),
        macos=_said(system, "sw_vers", "-productVersion"),
        build=_said(system, "sw_vers", "-buildVersion"),
        physical_cores=_number(system, "hw.physicalcpu"),
        logical_cores=_number(system, "hw.logicalcpu"),
        memory_bytes=_number(system, "hw.memsize"),
        virtual=_said(system, "sysctl", "-n", "kern.hv_vmm_present") == "1",
        translated=_said(system, "sysctl", "-n", "sysctl.proc_translated") == "1",
    )


def profile_of(mac: Facts, bundle: Bundle) -> tuple[BoardProfile, str]:
    """The bundle's profile of this Mac's chip. For a chip that it does not know, and in a virtual machine, which has no Neural
    Engine, one that allows every compute unit, and why this is no target."""
    if mac.virtual:
        return BoardProfile("here", mac.brand), "it is a virtual machine, which has no Neural Engine"
    profile = next((each for each in bundle.boards if names(each, mac.chip)), None)
    return (profile, "") if profile else (BoardProfile("here", mac.brand), "it is not among the target's chips")


def names(profile: BoardProfile, chip: str) -> bool:
    """Whether title or examples name exactly this chip: an `M4` is not an `M4 Pro`."""
    pattern = rf"(?<!\w){re.escape(chip)}(?!\w)(?! (?:Pro|Max|Ultra)\b)"
    return re.search(pattern, f"{profile.title}; {profile.examples}") is not None


def check(mac: Facts, least: str) -> None:
    """Raises `WrongBoard` for an older macOS, and for a Python under Rosetta, where coremltools would be Intel's."""
    if _version(mac.macos) < _version(least):
        raise WrongBoard(
            f"This bundle needs macOS {least} or later.",
            evidence=[f"this is macOS {mac.macos or 'of an unknown version'} on {mac.brand}"],
            remedy="update macOS",
        )
    if mac.translated:
        raise WrongBoard(
            "This Python is built for Intel and runs under Rosetta: its figures would not be this chip's.",
            evidence=[f"{sys.executable}: {platform.machine()}"],
            remedy="use a Python for arm64",
        )


def _said(system: System, command: str, *arguments: str) -> str:
    return printable(system.run(command, *arguments) or "")[:_WIDTH]


def _number(system: System, name: str) -> int:
    text = _said(system, "sysctl", "-n", name)
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def _version(text: str) -> tuple[int, ...]:
    """`15.1` as (15, 1); empty for an empty text."""
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", text[:_WIDTH]))
