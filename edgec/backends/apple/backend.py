"""The family of Apple's chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgec.backends.apple.profile import AppleProfile, as_chips
from edgec.backends.apple.program import OLD_FACTS, mac_program
from edgec.backends.apple.robot_code import apple_robot_code
from edgec.backends.base import Backend, Circumstances, Packing
from edgec.backends.profile import Profile
from edgec.backends.program import BUNDLE, BoardProgram
from edgec.backends.robot_code import RobotCode
from edgec.records.manifest import VariantFacts
from edgec.records.report import CandidateFigures

if TYPE_CHECKING:
    from edgec.artefact.reading import OpenArtefact
    from edgec.backends.choosing import Choice
    from edgec.records.report import Report

NOTE = (
    "No latency was measured: Core ML runs on Apple's devices alone. Fidelity is that of the saved package, fp16's rounding "
    "included, run here by edgec's own evaluator; the Neural Engine, the GPU and the CPU each round in ways of their own, "
    "which device/edgec-mac.pyz compares and measures on a Mac."
)


class AppleBackend(Backend):
    """One Core ML package, in the precision that comes first in the chips' order and keeps the features."""

    name = "apple"
    profile_type = AppleProfile
    note = NOTE

    @property
    def program(self) -> BoardProgram:
        """Verifies and measures the package on each compute unit of a Mac, and activates it with the one that won."""
        return mac_program()

    def robot_code(self, runtime: str) -> Mapping[str, RobotCode]:
        """Swift, on Core ML."""
        return apple_robot_code(runtime)

    def members(self, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
        """Every M-series chip; phones must be asked for by their names."""
        return tuple(profile for profile in as_chips(profiles) if profile.apple.in_family)

    def choose(self, candidates: Sequence[CandidateFigures], circumstances: Circumstances) -> Choice:
        """The first precision in the chips' order that keeps the features."""
        from edgec.backends.apple.choosing import choose_first, order

        return choose_first(candidates, circumstances.budget, order(as_chips(circumstances.profiles)))

    def pack(self, packing: Packing) -> tuple[VariantFacts, ...]:
        """The program and bundle.json. A Mac chooses compute units, but has no other file to choose."""
        from edgec.backends.apple.packing import write_mac_bundle

        write_mac_bundle(packing, self.program)
        return ()

    def check(self, artefact: OpenArtefact, report: Report | None, least: float | None) -> tuple[str, ...]:
        """The program and bundle.json, if the artefact has them."""
        from edgec.backends.checking import check_program, speaks_to

        files = {file.path for file in artefact.manifest.files}
        if OLD_FACTS in files and BUNDLE not in files:
            return (f"{OLD_FACTS} is from an earlier edgec and was not checked: build again to deploy it to a Mac.",)
        if not speaks_to(artefact, self.program.path, BUNDLE):
            return ()
        from edgec.backends.bundle_checking import check_bundle

        notes = check_program(artefact, self.program.path, self.program.archive(), sent=True)
        check_bundle(artefact, report, least, program=self.program)
        return notes
