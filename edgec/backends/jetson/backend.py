"""The family of Jetsons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from edgec.backends.base import Backend, Circumstances, Packing, Tell
from edgec.backends.candidate import Assessment, Candidate
from edgec.backends.jetson.profile import JetsonProfile, as_boards
from edgec.backends.profile import Profile
from edgec.backends.program import BUNDLE, PROGRAM, device_program, program_sources
from edgec.lowering.base import Availability
from edgec.records.compilation import Compilation
from edgec.records.manifest import VariantFacts
from edgec.records.report import CandidateFigures

if TYPE_CHECKING:
    from edgec.artefact.reading import OpenArtefact
    from edgec.backends.choosing import Choice
    from edgec.fidelity.budget import Budget
    from edgec.fidelity.reference import Reference
    from edgec.records.report import Report

NOTE = (
    "No latency was measured: there is no engine on this machine. Fidelity is that of the graphs, types included, imitated here; "
    "bounds are the least that data sheets allow, no latencies to expect. On the board, device/edgec-device.pyz measures."
)


class JetsonBackend(Backend):
    """One artefact holds a graph a precision; the board builds engines, measures them and keeps the fastest that reproduces the
    features."""

    name = "jetson"
    profile_type = JetsonProfile
    note = NOTE
    assessing: ClassVar[str] = "check against TensorRT's versions"
    compiling: ClassVar[str] = "compile with NVIDIA's compiler"

    def members(self, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
        """All of Orin and Thor. AGX Xavier, whose TensorRT is another generation, must be asked for by its name."""
        return tuple(profile for profile in as_boards(profiles) if profile.jetson.in_family)

    def runtime_versions(self, precision: str, profiles: Sequence[Profile]) -> tuple[str, ...]:
        from edgec.backends.jetson.foresight import versions_for

        every = (version for board in as_boards(profiles) for version in versions_for(precision, board.jetson))
        return tuple(dict.fromkeys(every))

    def compiler(self) -> Availability:
        from edgec.lowering.tensorrt.compiler.machines import availability

        return availability()

    def compile(self, candidate: Candidate, profiles: Sequence[Profile]) -> tuple[Compilation, ...]:
        """For each GPU that stands for one of the boards'."""
        from edgec.lowering.tensorrt.compiler.compiling import compile_graph
        from edgec.lowering.tensorrt.compiler.machines import sms_for, stand_in

        assert candidate.model is not None
        graph, boards = candidate.model.directory / candidate.model.entry, as_boards(profiles)
        served = {
            sm: [board.name for board in boards if stand_in(board.jetson.compute_capability) == sm]
            for sm in sms_for(board.jetson.compute_capability for board in boards)
        }
        return tuple(compile_graph(graph, sm, names).summary for sm, names in served.items())

    def assess(
        self, candidates: Sequence[Candidate], reference: Reference, circumstances: Circumstances, tell: Tell
    ) -> tuple[Assessment, ...]:
        """Whether every board's TensorRT takes each graph, and how long it must take there at least."""
        from edgec.backends.jetson.foresight import foresee

        assessments = []
        for number, candidate in enumerate(candidates):
            assert candidate.model is not None
            tell(candidate.name, number)
            graph = candidate.model.directory / candidate.model.entry
            boards = as_boards(circumstances.profiles)
            foreseen = foresee(graph, candidate.precision, boards, candidate.compilations)
            notes = tuple(f"{candidate.name}: {note}" for note in foreseen.notes)
            assessments.append(Assessment(bounds=foreseen.bounds, problem=foreseen.problem, notes=notes))
        return tuple(assessments)

    def choose(self, candidates: Sequence[CandidateFigures], budget: Budget, profiles: Sequence[Profile]) -> Choice:
        from edgec.backends.jetson.choosing import choose_unmeasured

        return choose_unmeasured(candidates, budget)

    def variants(self, candidates: Sequence[Candidate], chosen: Candidate, budget: Budget) -> tuple[Candidate, ...]:
        """The chosen one, and the first of every other precision that keeps the features."""
        from edgec.backends.choosing import keeps
        from edgec.lowering.tensorrt.lowering import VARIANTS

        first = {chosen.precision: chosen}
        for candidate in candidates:
            if candidate.ran and keeps(candidate.figures(), budget):
                first.setdefault(candidate.precision, candidate)
        return tuple(first[precision] for precision in VARIANTS if precision in first)

    def pack(self, packing: Packing) -> tuple[VariantFacts, ...]:
        from edgec.backends.jetson.packing import write_bundle

        return write_bundle(packing)

    def programs(self) -> Mapping[str, bytes]:
        return program_sources(self.name)

    def check(self, artefact: OpenArtefact, report: Report | None, least: float | None) -> tuple[str, ...]:
        if not {PROGRAM, BUNDLE} & {file.path for file in artefact.manifest.files}:
            return ()
        from edgec.backends.checking import check_document, check_program

        notes = check_program(artefact, PROGRAM, device_program(self.name))
        check_document(artefact, PROGRAM, BUNDLE, report, least)
        return notes
