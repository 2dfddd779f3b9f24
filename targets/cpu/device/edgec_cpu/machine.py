"""A board, a robot's PC, or any other Linux machine that computes on its CPU: known by the CPU's instructions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgec_device import board as boards
from edgec_device.board import Board
from edgec_device.bundle import BoardProfile, Bundle
from edgec_device.errors import NoRuntime
from edgec_device.session import Session
from edgec_onboard.cpuinfo import Cpu as CpuFacts
from edgec_onboard.cpuinfo import architecture, from_proc
from edgec_onboard.errors import WrongBoard

from edgec_cpu import errors
from edgec_cpu.tool import TITLES, Runtimes


class Cpu:
    """See `edgec_device.tool.Family`."""

    program = "edgec-cpu.pyz"
    description = (
        "Runs the models of the artefact that it is part of on the CPU of this machine. A model that does not reproduce the "
        "golden features is never activated."
    )
    exit_codes = (errors.__doc__ or "").split("\n", 2)[2]
    option = (
        "--python",
        "PATH",
        "this one, with the packages that `edgec deploy` brought along; the runtime and numpy must be installed in it",
    )
    patient_with = "the runtime"
    tries_fp32 = True
    on_cpu = True
    remedy = "install the runtime, or let `edgec deploy` bring it along; or build the bundle for one that is here"
    hidden: Sequence[str] = ("jetpack", "l4t", "power_mode")

    def identify(self, session: Session) -> None:
        """By /proc/cpuinfo."""
        cpu = from_proc(session.system.text("/proc/cpuinfo") or "", session.system.text("/proc/device-tree/model") or "")
        machine = architecture(platform.machine())
        session.board = replace(boards.read_board(session.system), model=cpu.name, isa=cpu.isa, architecture=machine)
        session.profile = (
            BoardProfile("here", cpu.name, architecture=machine)
            if session.options.here
            else profile_of(cpu, machine, session.bundle)
        )
        session.tool = Runtimes.find(session, cpu)
        session.board = replace(session.board, packages=dict(session.tool.versions))

    def look(self, session: Session) -> dict[str, Any]:
        """Which runtimes are here, by name, and which the bundle needs and are not."""
        try:
            self.identify(session)
        except NoRuntime:
            return {"runtimes": {}, "missing": sorted({variant.runtime for variant in session.bundle.variants})}
        assert isinstance(session.tool, Runtimes)
        return {"runtimes": session.tool.installed, "missing": sorted(session.tool.problems)}

    def describe(self, board: Board) -> str:
        """With its instructions."""
        return f"{board.title}, {board.architecture} with {', '.join(board.isa) or 'no instructions that matter here'}."

    def warnings(self, session: Session) -> list[str]:
        """Runtimes that cannot be used: their models are left out."""
        assert isinstance(session.tool, Runtimes)
        titles = {name: TITLES.get(name, name) for name in session.tool.problems}
        return [
            f"{titles[name]} cannot be used, and its models are left out: {why}." for name, why in session.tool.problems.items()
        ]

    def remarks(self, session: Session) -> list[str]:
        """None."""
        return []


def profile_of(cpu: CpuFacts, machine: str, bundle: Bundle) -> BoardProfile:
    """The bundle's profile of this CPU. Raises `WrongBoard` if it has none."""
    lacking = {}
    for profile in bundle.boards:
        missing = [flag for flag in profile.isa if flag not in cpu.isa]
        if profile.architecture == machine and not missing:
            return profile
        lacking[profile.title] = ", ".join(missing) if profile.architecture == machine else profile.architecture
    raise WrongBoard(
        f"This bundle was built for {' or '.join(lacking)}; this is {cpu.name}.",
        evidence=[f"{title}: this CPU lacks {what}" for title, what in lacking.items()],
        remedy="build one for this CPU: `edgec targets` lists them",
    )
