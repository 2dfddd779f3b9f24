"""The family of Jetsons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from edgec.backends.base import Backend, Circumstances, OnProgress, Packing, VariantChecks
from edgec.backends.candidate import Assessment, Candidate
from edgec.backends.jetson.profile import JetsonProfile, as_boards
from edgec.backends.jetson.program import jetson_program
from edgec.backends.jetson.robot_code import tensorrt_robot_code
from edgec.backends.jetson.roofline import REASONING
from edgec.backends.profile import Profile
from edgec.backends.program import BUNDLE, BoardProgram
from edgec.backends.robot_code import RobotCode
from edgec.lowering.base import Availability
from edgec.records.compilation import Compilation
from edgec.records.manifest import VariantFacts
from edgec.records.report import CandidateFigures

if TYPE_CHECKING:
    from edgec.artefact.reading import OpenArtefact
    from edgec.backends.choosing import Choice
    from edgec.fidelity.budget import Budget
    from edgec.fidelity.reference import Reference
    from edgec.lowering.base import Features
    from edgec.records.report import Report

NOTE = (
    "No latency was measured: there is no engine on this machine. Fidelity is that of the graphs, types included, simulated. "
    f"On the board, device/edgec-device.pyz measures. {REASONING}"
)


class JetsonBackend(Backend):
    """One artefact holds a graph a precision; the board builds engines, measures them and keeps the fastest that reproduces the
    features."""

    name = "jetson"
    profile_type: ClassVar[type[Profile]] = JetsonProfile
    note = NOTE
    assessing: ClassVar[str] = "check against TensorRT's versions"
    compiling: ClassVar[str] = "compile with NVIDIA's compiler"

    @property
    def program(self) -> BoardProgram:
        """Builds engines on the board, verifies and measures them, and activates one."""
        return jetson_program()

    def robot_code(self, runtime: str) -> Mapping[str, RobotCode]:
        """C++ on TensorRT's own API."""
        return tensorrt_robot_code(runtime, self.name)

    def members(self, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
        """All of Orin and Thor. AGX Xavier, whose TensorRT is another generation, must be asked for by its name."""
        return tuple(profile for profile in as_boards(profiles) if profile.jetson.in_family)

    def runtime_versions(self, precision: str, profiles: Sequence[Profile]) -> tuple[str, ...]:
        """TensorRT versions of any of these boards that a graph of this precision is for."""
        from edgec.backends.jetson.foresight import versions_for

        versions = (version for board in as_boards(profiles) for version in versions_for(precision, board.jetson))
        return tuple(dict.fromkeys(versions))

    def compiler(self) -> Availability:
        """NVIDIA's, which needs no GPU."""
        from edgec.lowering.tensorrt.compiler.machines import availability

        return availability()

    def compile(self, candidate: Candidate, profiles: Sequence[Profile]) -> tuple[Compilation, ...]:
        """For each GPU that stands for one of the boards' that the graph is for."""
        from edgec.backends.jetson.foresight import versions_for
        from edgec.lowering.tensorrt.compiler.compiling import compile_for_each
        from edgec.lowering.tensorrt.compiler.machines import sms_for, stand_in

        assert candidate.model is not None
        graph, boards = candidate.model.directory / candidate.model.entry, as_boards(profiles)
        boards = tuple(board for board in boards if versions_for(candidate.variant, board.jetson))
        served = {
            sm: [board.name for board in boards if stand_in(board.jetson.compute_capability) == sm]
            for sm in sms_for(board.jetson.compute_capability for board in boards)
        }
        return tuple(each.summary for each in compile_for_each(graph, served))

    def assess(
        self, candidates: Sequence[Candidate], reference: Reference, circumstances: Circumstances, on_progress: OnProgress
    ) -> tuple[Assessment, ...]:
        """Whether every board's TensorRT takes each graph, how long it must take there at least, and whether it pays."""
        from edgec.backends.jetson.foresight import foresee
        from edgec.backends.jetson.paying import unprofitable

        assessments, unpaid = [], unprofitable(candidates)
        for number, candidate in enumerate(candidates):
            assert candidate.model is not None
            on_progress(candidate.name, number)
            graph = candidate.model.directory / candidate.model.entry
            boards = as_boards(circumstances.profiles)
            foreseen = foresee(graph, candidate.variant, boards, candidate.compilations)
            notes = tuple(f"{candidate.name}: {note}" for note in foreseen.notes)
            problem = foreseen.problem or unpaid.get(candidate.name, "")
            assessments.append(Assessment(bounds=foreseen.bounds, problem=problem, notes=notes))
        return tuple(assessments)

    def runs_everywhere(self, precision: str, profiles: Sequence[Profile]) -> bool:
        """Whether each of the devices has a GPU and a runtime for graphs of this precision."""
        from edgec.backends.jetson.foresight import versions_for

        return all(versions_for(precision, board.jetson) for board in as_boards(profiles))

    def choose(self, candidates: Sequence[CandidateFigures], circumstances: Circumstances) -> Choice:
        """What a board tries first; it measures and chooses for itself."""
        from edgec.backends.jetson.choosing import choose_unmeasured

        profiles = circumstances.profiles
        return choose_unmeasured(candidates, circumstances.budget, lambda precision: self.runs_everywhere(precision, profiles))

    def variants(self, candidates: Sequence[Candidate], chosen: Candidate, budget: Budget) -> tuple[Candidate, ...]:
        """The chosen one, and the first of every other precision and form that keeps the features."""
        from edgec.backends.choosing import keeps
        from edgec.lowering.tensorrt.lowering import VARIANTS

        first = {chosen.variant: chosen}
        for candidate in candidates:
            if candidate.ran and keeps(candidate.figures(), budget):
                first.setdefault(candidate.variant, candidate)
        return tuple(first[variant] for variant in VARIANTS if variant in first)

    def pack(self, packing: Packing) -> tuple[VariantFacts, ...]:
        """The program, bundle.json, and what each variant computes of the golden frames."""
        from edgec.backends.bundling import write_bundle
        from edgec.backends.jetson.packing import board_of, graph_facts

        return write_bundle(packing, self.program, [board_of(board) for board in as_boards(packing.profiles)], graph_facts)

    def check(self, artefact: OpenArtefact, report: Report | None, least: float | None) -> tuple[str, ...]:
        """The program and bundle.json, if the artefact has them."""
        from edgec.backends.checking import check_program, speaks_to

        if not speaks_to(artefact, self.program.path, BUNDLE):
            return ()
        from edgec.backends.bundle_checking import check_bundle

        notes = check_program(artefact, self.program.path, self.program.archive(), sent=True)
        check_bundle(artefact, report, least, program=self.program)
        return notes

    def check_variants(self, artefact: OpenArtefact, entry_features: Features, threads: int, *, same: bool) -> VariantChecks:
        """Every graph that bundle.json lists."""
        from edgec.backends.checking import speaks_to

        if not speaks_to(artefact, self.program.path, BUNDLE) or BUNDLE not in {file.path for file in artefact.manifest.files}:
            return VariantChecks()
        from edgec.backends.bundle_checking import check_variants

        return check_variants(artefact, entry_features, threads, same=same)
