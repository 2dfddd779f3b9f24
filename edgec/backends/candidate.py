"""Candidates: what a build tries, from the name to everything that is learnt about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgec.fidelity.metrics import worst
from edgec.records.compilation import Compilation
from edgec.records.fidelity import StageFidelity
from edgec.records.report import Bound, CandidateFigures, ColdStart, Latency

if TYPE_CHECKING:
    from edgec.graph.plan import PrecisionPlan
    from edgec.lowering.base import LoweredModel
    from edgec.precision.recipes import Recipe


@dataclass(frozen=True)
class Assessment:
    """What a family knows of a candidate besides its fidelity: measured here, or derived for boards. `problem` rules it out."""

    latency: Latency | None = None
    cold_start: ColdStart | None = None
    cpu_ms_per_frame: float | None = None
    other_cores: float | None = None
    """How many cores other work used meanwhile."""
    bounds: tuple[Bound, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One runtime at one precision. Each stage adds what it learns: plan and files, fidelity, assessment. `problem` says why it
    cannot ship; later stages then leave it as it is."""

    name: str
    runtime: str
    precision: str
    form: str = ""
    """Which form of the runtime's files, where it has several (`edgec.lowering.forms`); empty for the usual one."""
    recipe: Recipe | None = None
    """How an int8 plan is made; None for other precisions."""
    plan: PrecisionPlan | None = None
    model: LoweredModel | None = None
    fidelity: tuple[StageFidelity, ...] = ()
    """One for each size, the default's first."""
    elsewhere: tuple[StageFidelity, ...] = ()
    """One for each condition (`edgec.fidelity.elsewhere`), at the default size."""
    execution_precision: str = ""
    unjudged: str = ""
    """Why only the target can judge it, which then does: it has no fidelity here. Empty if this machine can."""
    compilations: tuple[Compilation, ...] = ()
    """What the vendor's compiler made of its graph, one for each kind of GPU."""
    assessment: Assessment = field(default_factory=Assessment)
    problem: str = ""

    @property
    def variant(self) -> str:
        """What a device that chooses for itself calls it: precision and form."""
        return f"{self.precision}-{self.form}" if self.form else self.precision

    @property
    def ran(self) -> bool:
        """Whether it has files, they ran here, and nothing rules it out."""
        return self.model is not None and bool(self.fidelity) and not self.problem

    def figures(self) -> CandidateFigures:
        """The candidate as reports show it."""
        return CandidateFigures(
            name=self.name,
            runtime=self.runtime,
            precision=self.precision,
            execution_precision=self.execution_precision,
            size_bytes=self.model.size_bytes if self.model is not None and (self.fidelity or self.unjudged) else None,
            fidelity=worst_size(self.fidelity) if self.fidelity else None,
            elsewhere=self.elsewhere,
            latency=self.assessment.latency,
            bounds=self.assessment.bounds,
            compilations=self.compilations,
            cold_start=self.assessment.cold_start,
            cpu_ms_per_frame=self.assessment.cpu_ms_per_frame,
            problem=self.problem or self.unjudged,
        )


def worst_size(sizes: Sequence[StageFidelity]) -> StageFidelity:
    """A candidate is as faithful as at its worst size, and each of its heads as at that head's worst size."""
    tasks = zip(*(entry.tasks for entry in sizes), strict=True)
    worst_tasks = tuple(min(entries, key=lambda task: task.retained) for entries in tasks)
    return min(sizes, key=worst).model_copy(update={"tasks": worst_tasks})
