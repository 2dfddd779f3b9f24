"""The family of RTX GPUs. Graphs, choice and checks are those of Jetsons; engines are compiled here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from edgec.backends.base import Circumstances, OnProgress, Packing
from edgec.backends.candidate import Assessment, Candidate
from edgec.backends.jetson.backend import JetsonBackend
from edgec.backends.profile import Profile
from edgec.backends.program import BoardProgram
from edgec.backends.rtx.profile import RtxProfile, as_generations
from edgec.backends.rtx.program import rtx_program
from edgec.records.compilation import Compilation
from edgec.records.manifest import VariantFacts

if TYPE_CHECKING:
    from edgec.fidelity.reference import Reference

NOTE = (
    "No latency was measured: nothing ran on a GPU. Fidelity is that of the graphs, types included, simulated here; bounds are "
    "the least that data sheets allow, no latencies to expect. On the machine, device/edgec-rtx.pyz measures."
)


class RtxBackend(JetsonBackend):
    """One artefact holds a graph a precision and one engine of it for every generation; the machine measures them and keeps the
    fastest that reproduces the features."""

    name = "rtx"
    profile_type: ClassVar[type[Profile]] = RtxProfile
    note = NOTE
    assessing: ClassVar[str] = "bounds from data sheets"

    @property
    def program(self) -> BoardProgram:
        """Verifies and measures engines on the machine, and activates one."""
        return rtx_program()

    def members(self, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
        """All of them: one engine serves every generation."""
        return as_generations(profiles)

    def runtime_versions(self, precision: str, profiles: Sequence[Profile]) -> tuple[str, ...]:
        """The TensorRT in each version of TensorRT-RTX that compiles for these GPUs."""
        return ("11.0", "11.2", "11.4")

    def compile(self, candidate: Candidate, profiles: Sequence[Profile]) -> tuple[Compilation, ...]:
        """For each generation's own SM, if it has the graph's types."""
        from edgec.lowering.tensorrt.compiler.compiling import compile_for_each
        from edgec.lowering.tensorrt.lowering import has_types

        assert candidate.model is not None
        graph = candidate.model.directory / candidate.model.entry
        served: dict[str, list[str]] = {}
        for generation in as_generations(profiles):
            if has_types(candidate.variant, generation.rtx.compute_capability):
                served.setdefault(generation.rtx.sm, []).append(generation.name)
        return tuple(each.summary for each in compile_for_each(graph, served))

    def assess(
        self, candidates: Sequence[Candidate], reference: Reference, circumstances: Circumstances, on_progress: OnProgress
    ) -> tuple[Assessment, ...]:
        """The least time on each card whose rates are known, and whether the precision pays."""
        from edgec.backends.jetson.paying import unprofitable
        from edgec.backends.rtx.bounds import bounds_of

        assessments, unpaid = [], unprofitable(candidates)
        for number, candidate in enumerate(candidates):
            assert candidate.model is not None
            on_progress(candidate.name, number)
            graph = candidate.model.directory / candidate.model.entry
            bounds = bounds_of(graph, as_generations(circumstances.profiles), candidate.compilations)
            assessments.append(Assessment(bounds=bounds, problem=unpaid.get(candidate.name, "")))
        return tuple(assessments)

    def runs_everywhere(self, precision: str, profiles: Sequence[Profile]) -> bool:
        """Whether each generation has the types of this precision."""
        from edgec.lowering.tensorrt.lowering import has_types

        return all(has_types(precision, generation.rtx.compute_capability) for generation in as_generations(profiles))

    def pack(self, packing: Packing) -> tuple[VariantFacts, ...]:
        """The program, bundle.json, what each variant computes of the golden frames, and engines."""
        from edgec.backends.rtx.packing import write_engines_and_bundle

        return write_engines_and_bundle(packing)
