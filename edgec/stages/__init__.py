"""The build's stages: each takes what earlier ones made, is cached under a hash of what it depends on, and says how far it is.

What computes is in the rooms; here is only the order of files, keys and progress. torch is imported when a stage really runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgec.backends import profiles as targets
from edgec.backends.jetson.packing import Variant
from edgec.errors import RuntimeFailure
from edgec.fidelity.reference import Reference
from edgec.frames import Split
from edgec.lowering.base import LoweredModel
from edgec.lowering.tensorrt.lowering import TENSORRT, VARIANTS
from edgec.precision.choice import Choice
from edgec.precision.explaining import explain
from edgec.records.fidelity import StageFidelity
from edgec.records.report import Candidate
from edgec.stages.assembling import Ingredients, assemble_artefact
from edgec.stages.base import Calibration, Hub, Lowered
from edgec.stages.candidates import Candidates
from edgec.stages.preparing import Preparing
from edgec.stages.sizes import size_notes


class Stages(Preparing, Candidates):
    """In the order of `edgec.build`."""

    def write(
        self,
        directory: Path,
        hub: Hub,
        split: Split,
        references: Sequence[Reference],
        lowered: Sequence[Lowered],
        measured: Sequence[Candidate],
        choice: Choice,
        fidelity: Sequence[StageFidelity],
        calibration: Calibration,
        sensitivity: Mapping[str, float],
        doubts: Sequence[str],
    ) -> None:
        """Put the chosen candidate's files together with all that is known of them, and run what was put together."""
        resolved = self.resolved
        chosen = next(entry for entry in lowered if entry.name == choice.candidate.name)
        if chosen.model is None or chosen.plan is None:
            raise RuntimeFailure(f"{chosen.name} was chosen, but it has no files.")
        frames = [frame.name for frame in split.calibration]
        ran = {candidate.name for candidate in measured if candidate.fidelity}
        graph, statistics = hub.load_shipped(), calibration.statistics
        explanation = explain(graph, chosen.plan, chosen.recipe, statistics, sensitivity, frames, choice.candidate, measured)
        at_sizes = {entry.name: self.at_each_size(entry, references) for entry in lowered if entry.model and entry.name in ran}
        several = size_notes(resolved.request.sizes, at_sizes) if hub.others else ()
        with self.progress.stage("verify the artefact", self._batches(references)) as step:
            assemble_artefact(
                directory,
                Ingredients(
                    build_key=resolved.key,
                    target=resolved.target,
                    host=resolved.host,
                    host_is_target=not targets.missing(resolved.profile, resolved.host),
                    threads=resolved.threads,
                    tools=resolved.tools,
                    precision_asked=resolved.request.precision,
                    budget=resolved.budget,
                    batch=self._batch,
                    checkpoint=hub.facts,
                    model=hub.model,
                    licence=hub.licence,
                    notice=hub.notice,
                    frames=resolved.frames,
                    split=split,
                    references=tuple(references),
                    lowering=resolved.lowerings[chosen.runtime],
                    lowered=chosen.model,
                    graphs=tuple(each.load_shipped for each in hub.all),
                    plan=chosen.plan,
                    explanation=explanation,
                    candidates=tuple(measured),
                    choice=choice,
                    fidelity=tuple(fidelity),
                    kept=at_sizes[chosen.name],
                    notes=(*resolved.notes, *split.notes, *several, *doubts),
                    boards=resolved.boards,
                    devices=resolved.devices,
                    variants=self._variants(lowered, measured, chosen) if resolved.boards else (),
                ),
                step,
            )

    def _variants(
        self, lowered: Sequence[Lowered], candidates: Sequence[Candidate], chosen: Lowered
    ) -> tuple[tuple[Variant, LoweredModel], ...]:
        """What a board may choose: the chosen one, and the first of every other precision that keeps the features."""
        found = {chosen.precision: chosen.model}
        for entry, candidate in zip(lowered, candidates, strict=True):
            if entry.model and not candidate.problem and not self._beyond(candidate):
                found.setdefault(entry.precision, entry.model)
        return tuple(
            (Variant(precision, f"model/{model.entry}", TENSORRT[precision]), model)
            for precision in VARIANTS
            if (model := found.get(precision)) is not None
        )
