"""The family of Apple's chips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgec.backends.apple.profile import AppleProfile, as_chips
from edgec.backends.apple.program import MAC_FACTS, MAC_PROGRAM, mac_program
from edgec.backends.base import Backend, Circumstances, Packing
from edgec.backends.profile import Profile
from edgec.backends.program import BoardProgram
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
        """Measures the package on each compute unit of a Mac."""
        return mac_program()

    def members(self, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
        """Every M-series chip; phones must be asked for by their names."""
        return tuple(profile for profile in as_chips(profiles) if profile.apple.in_family)

    def choose(self, candidates: Sequence[CandidateFigures], circumstances: Circumstances) -> Choice:
        """The first precision in the chips' order that keeps the features."""
        from edgec.backends.apple.choosing import choose_first, order

        return choose_first(candidates, circumstances.budget, order(as_chips(circumstances.profiles)))

    def pack(self, packing: Packing) -> tuple[VariantFacts, ...]:
        """The program and mac.json. A Mac has one package and nothing to choose from."""
        from edgec.backends.apple.packing import write_mac

        write_mac(packing)
        return ()

    def check(self, artefact: OpenArtefact, report: Report | None, least: float | None) -> tuple[str, ...]:
        """The program and mac.json, if the artefact has them."""
        if not {MAC_PROGRAM, MAC_FACTS} & {file.path for file in artefact.manifest.files}:
            return ()
        from edgec.backends.checking import check_document, check_program

        notes = check_program(artefact, MAC_PROGRAM, self.program.archive())
        check_document(artefact, MAC_PROGRAM, MAC_FACTS, report, least)
        return notes
