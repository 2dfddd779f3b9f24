"""Which Mac this is, whether the artefact can run on it, and what evidence its figures have.

Facts come from `sysctl`, `sw_vers` and `pmset`. Tests set the environment variable EDGEC_FACTS_ROOT to a folder with commands of
these names at the same paths; figures that are measured like that are never called measured.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgec_onboard.errors import WrongBoard
from edgec_onboard.process import output_of
from edgec_onboard.untrusted import printable

VARIABLE = "EDGEC_FACTS_ROOT"
_SYSCTL, _SW_VERS, _PMSET = "/usr/sbin/sysctl", "/usr/bin/sw_vers", "/usr/bin/pmset"
_TIMEOUT_S = 10
_MOST_BYTES = 1 << 20
_WIDTH = 100
"""The most characters of a fact."""
_VIRTUAL = re.compile(r"\s*\(virtual\)$", re.IGNORECASE)


@dataclass(frozen=True)
class Profile:
    """One of the chips that the artefact was built for. `macos` is the first version that runs on it; None for a phone's chip."""

    name: str
    title: str
    examples: str
    macos: str | None
    compute_units: tuple[str, ...]

    def names(self, chip: str) -> bool:
        """Whether title or examples name exactly this chip: an `M4` is not an `M4 Pro`."""
        pattern = rf"(?<!\w){re.escape(chip)}(?!\w)(?! (?:Pro|Max|Ultra)\b)"
        return re.search(pattern, f"{self.title}; {self.examples}") is not None


@dataclass(frozen=True)
class Mac:
    """The facts about a Mac. `chip` is Apple's name for it without "Apple", such as "M4 Pro". `real` is False in tests."""

    brand: str
    chip: str
    macos: str
    build: str
    physical_cores: int
    logical_cores: int
    memory_bytes: int
    virtual: bool
    translated: bool
    power: str | None
    real: bool

    @property
    def system(self) -> str:
        """The version of macOS in words."""
        return f"macOS {self.macos}" + (f" ({self.build})" if self.build else "")


def look() -> Mac:
    """The facts about this Mac. Raises `WrongBoard` if it is not a Mac with Apple silicon."""
    root = os.environ.get(VARIABLE) or "/"
    real = os.path.realpath(root) == "/"
    if real and sys.platform != "darwin":
        raise WrongBoard(
            "This is not a Mac: Core ML runs only on Apple's devices.",
            evidence=[f"{platform.system()}, {platform.machine()}"],
            remedy="copy the artefact to a Mac with Apple silicon and run this program there; "
            "`edgec verify` checks the package anywhere",
        )
    brand = printable(_sysctl(root, "machdep.cpu.brand_string"))[:_WIDTH]
    if _sysctl(root, "hw.optional.arm64") != "1":
        raise WrongBoard(
            "This Mac has no Apple silicon.",
            evidence=[f"its CPU is {brand or 'unknown'}"],
            remedy="run this program on a Mac with an Apple chip: M1 or later",
        )
    return Mac(
        brand=brand or "unknown",
        chip=_VIRTUAL.sub("", brand).removeprefix("Apple ").strip(),
        macos=printable(_run(root, _SW_VERS, "-productVersion"))[:_WIDTH],
        build=printable(_run(root, _SW_VERS, "-buildVersion"))[:_WIDTH],
        physical_cores=_number(root, "hw.physicalcpu"),
        logical_cores=_number(root, "hw.logicalcpu"),
        memory_bytes=_number(root, "hw.memsize"),
        virtual=_sysctl(root, "kern.hv_vmm_present") == "1",
        translated=_sysctl(root, "sysctl.proc_translated") == "1",
        power=_power(root),
        real=real,
    )


def profile_of(mac: Mac, profiles: Sequence[Profile]) -> Profile | None:
    """The profile of this Mac's chip; None if there is none, and in a virtual machine, which has no Neural Engine."""
    return None if mac.virtual else next((profile for profile in profiles if profile.names(mac.chip)), None)


def check(mac: Mac, profile: Profile | None, least: str) -> None:
    """Raises `WrongBoard` for a macOS older than the profile's (without one, older than `least`), and for a Python under Rosetta,
    where coremltools would be Intel's."""
    needed = (profile.macos if profile else None) or least
    if _version(mac.macos) < _version(needed):
        raise WrongBoard(
            f"This artefact needs macOS {needed} or later.",
            evidence=[f"this is macOS {mac.macos or 'of an unknown version'} on {mac.brand}"],
            remedy="update macOS",
        )
    if mac.translated:
        raise WrongBoard(
            "This Python is built for Intel and runs under Rosetta: its figures would not be this chip's.",
            evidence=[f"{sys.executable}: {platform.machine()}"],
            remedy="use a Python for arm64",
        )


def doubts(mac: Mac, compiled_part: str) -> list[str]:
    """Why this run's figures are not facts about a Mac, a sentence each. `compiled_part` is the file of coremltools that calls
    Core ML."""
    sentences = [] if mac.real else [f"the facts about the machine come from a folder ({VARIABLE} is set)"]
    if Path(compiled_part).suffix != ".so":
        sentences.append("coremltools has no compiled part here: it is a stand-in, and Core ML did not run")
    return sentences


def _run(root: str, command: str, *arguments: str) -> str:
    """What the command prints; empty if it is missing, fails, prints too much, or takes too long."""
    program = os.path.join(root, command.lstrip("/"))  # noqa: PTH118
    return output_of([program, *arguments], seconds=_TIMEOUT_S, most_bytes=_MOST_BYTES) or ""


def _sysctl(root: str, name: str) -> str:
    return _run(root, _SYSCTL, "-n", name)


def _number(root: str, name: str) -> int:
    text = _sysctl(root, name)
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def _power(root: str) -> str | None:
    """The power source, and whether low power mode is on: "AC Power", "Battery Power, low power mode"."""
    source = re.search(r"drawing from '([^']{1,60})'", _run(root, _PMSET, "-g", "batt"))
    saving = re.search(r"^\s*lowpowermode\s+1\b", _run(root, _PMSET, "-g"), re.MULTILINE)
    return (source.group(1) if source else "unknown power") + ", low power mode" * bool(saving) if source or saving else None


def _version(text: str) -> tuple[int, ...]:
    """`15.1` as (15, 1); empty for an empty text."""
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", text[:_WIDTH]))
