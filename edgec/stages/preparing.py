"""From a checkpoint and frames to the hub graph and the features that everything is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec import cache as cached
from edgec import checkpoint as checkpoints
from edgec import frames as framing
from edgec.fidelity.gate import check_export
from edgec.fidelity.reference import Reference, read_reference, write_reference
from edgec.frames import Split
from edgec.heads import check_heads, layers_needed, read_heads
from edgec.heads.fitting import feature_shapes
from edgec.model.spec import Size, describe, family_name, gflops, parameters
from edgec.records.fidelity import HeadFacts, StageFidelity
from edgec.records.manifest import CheckpointFacts, LicenceFacts
from edgec.records.report import ModelFacts
from edgec.request import code_digest
from edgec.stages.base import Hub, Stage, dump, identities, load
from edgec.stages.heads import require_operations

if TYPE_CHECKING:
    from edgec.checkpoint import Checkpoint
    from edgec.heads import Head


class Preparing(Stage):
    @cached_property
    def _checkpoint(self) -> Checkpoint:
        """Read once, and only if a stage that needs the weights runs."""
        request = self.resolved.request
        return checkpoints.read(request.checkpoint, seed=request.seed, weights=request.weights, config=request.config)

    @cached_property
    def _heads(self) -> tuple[Head, ...]:
        return read_heads(self.resolved.request.heads)

    def _layers(self) -> tuple[int, ...]:
        """Those that were asked for and those that heads read."""
        return tuple(sorted({*self.resolved.request.layers, *layers_needed(self._heads)}))

    def check_heads(self) -> None:
        """Whether each head fits the backbone, and whether some runtime of the target has its operations: before frames are read
        and anything is exported. Raises `HeadError`, or `UnsupportedOperation` naming operation, head and target."""
        resolved = self.resolved
        if not resolved.heads:
            return

        def produce(directory: Path) -> None:
            spec = self._checkpoint.spec
            for size in resolved.request.sizes:
                check_heads(self._heads, spec, size)
                for head in self._heads:
                    require_operations(head, feature_shapes(spec, size, resolved.request.batch), size, resolved)

        with self.progress.stage("check the heads"):
            self.cache.stage("heads", self._key([str(size) for size in resolved.request.sizes], self._runtimes()), produce)

    def _runtimes(self) -> list[Any]:
        resolved = self.resolved
        return [resolved.target, list(resolved.pairs), [each.model_dump(mode="json") for each in resolved.boards]]

    def split(self) -> Split:
        """Choose the frames to calibrate on and those to judge by."""
        resolved = self.resolved
        limit, seed = resolved.request.calibration_frames, resolved.request.seed

        def produce(directory: Path) -> None:
            found = framing.split(resolved.frames, limit=limit, seed=seed)
            names = {
                "calibration": [frame.name for frame in found.calibration],
                "validation": [frame.name for frame in found.validation],
                "skipped": found.skipped,
                "copies": found.copies,
                "notes": found.notes,
            }
            dump(directory / "split.json", names)

        with self.progress.stage("choose frames"):
            key = cached.key(resolved.frames.sha256, resolved.frames.name, limit, seed, code_digest())
            found = load(self.cache.stage("split", key, produce) / "split.json")
        for note in found["notes"]:
            self.progress.note(note)
        by_name = {frame.name: frame for frame in resolved.frames.frames}
        return Split(
            tuple(by_name[name] for name in found["calibration"]),
            tuple(by_name[name] for name in found["validation"]),
            tuple((name, reason) for name, reason in found["skipped"]),
            tuple(found["copies"]),
            tuple(found["notes"]),
        )

    def export(self) -> Hub:
        """Read the checkpoint, assemble the model at its size, export it to the hub graph; for each size that is asked for."""
        first, *others = (self._export_one(size) for size in self.resolved.request.sizes)
        return replace(first, others=tuple(others))

    def _export_one(self, size: Size) -> Hub:
        request = self.resolved.request

        def produce(directory: Path) -> None:
            from edgec.graph.export import export
            from edgec.graph.files import save
            from edgec.graph.operations import operations
            from edgec.heads.attach import attach
            from edgec.model.camera import assemble

            checkpoint, heads = self._checkpoint, self._heads
            classifier = None if checkpoint.classifier is None else checkpoint.classifier.numpy()
            check_heads(heads, checkpoint.spec, size, pooling=checkpoint.pooling, classifier=classifier)
            model = assemble(checkpoint, size, folded=True, registers=request.registers, layers=self._layers())
            hub = export(model, checkpoint.spec, size, request.batch)
            if heads:
                hub = attach(hub, heads, layers=request.layers)
            save(hub, directory / "hub.onnx")
            outputs = [output.name for output in hub.graph.output]
            macs = sum(operation.macs for operation in operations(hub) if operation.kind == "head") / request.batch
            dump(directory / "checkpoint.json", self._describe(checkpoint, size, outputs, 2e-9 * macs))

        with self.progress.stage(f"export the hub graph{self._at(size)}"):
            directory = self.cache.stage("hub", self._key(str(size)), produce)
        said = load(directory / "checkpoint.json")
        heads = tuple(HeadFacts.model_validate(head) for head in said["heads"])
        theirs = [name for head in heads for name in head.outputs]
        return Hub(
            directory / "hub.onnx",
            size,
            CheckpointFacts.model_validate(said["facts"]),
            ModelFacts.model_validate(said["model"]),
            tuple(said["outputs"]),
            tuple(said["outputs"] if request.features else theirs),
            said["licence"],
            said["notice"],
            heads,
        )

    def _describe(self, checkpoint: Checkpoint, size: Size, outputs: list[str], of_heads: float) -> dict[str, Any]:
        arch = family_name(checkpoint.spec) or describe(checkpoint.spec)
        licence = checkpoint.licence
        facts = CheckpointFacts(
            name=checkpoint.name,
            form=checkpoint.form,
            arch=arch,
            sha256=checkpoint.sha256,
            random_weights=checkpoint.random_weights,
            normalisation=f"{checkpoint.normalisation.name}: {checkpoint.normalisation.reason}",
            mean=checkpoint.normalisation.mean,
            std=checkpoint.normalisation.std,
            licence=LicenceFacts(name=licence.name, spdx=licence.spdx, reason=licence.reason),
            findings=tuple(finding.text for finding in checkpoint.findings),
        )
        model = ModelFacts(
            name=checkpoint.name,
            arch=arch,
            checkpoint_sha256=checkpoint.sha256,
            random_weights=checkpoint.random_weights,
            gflops=round(gflops(checkpoint.spec, size) + of_heads, 3),
            parameters=parameters(checkpoint.spec),
        )
        return {
            "facts": facts.model_dump(mode="json"),
            "model": model.model_dump(mode="json"),
            "outputs": outputs,
            "heads": [head.facts for head in self._heads],
            "licence": licence.text,
            "notice": licence.notice,
        }

    def reference(self, hub: Hub, split: Split) -> tuple[Reference, ...]:
        """The float32 PyTorch model's features on the validation frames, and what its heads make of them, at each size: all that
        the hub graph gives."""
        return tuple(self._reference_one(each, split) for each in hub.all)

    def _reference_one(self, hub: Hub, split: Split) -> Reference:
        request = self.resolved.request

        def produce(directory: Path) -> None:
            from edgec.heads.reference import CameraModelWithHeads
            from edgec.model.camera import assemble

            camera = assemble(self._checkpoint, hub.size, folded=False, registers=request.registers, layers=self._layers())
            model = CameraModelWithHeads(camera, self._heads, layers=request.layers) if self._heads else camera
            write_reference(model, [picture for _, picture in framing.batches(split.validation, hub.size)], directory, step)

        with self.progress.stage(f"float32 reference in PyTorch{self._at(hub.size)}", len(split.validation)) as step:
            key = cached.key(self._base, self._asked, str(hub.size), identities(split.validation))
            directory = self.cache.stage("reference", key, produce)
        return read_reference(directory, hub.given, hub.heads)

    def shipped(self, hub: Hub, references: Sequence[Reference]) -> tuple[Reference, ...]:
        """Of these the outputs that the artefact shall give."""
        return tuple(reference.only(hub.outputs) for reference in references)

    def verify_against(self, references: Sequence[Reference]) -> tuple[StageFidelity, ...]:
        """If it is asked for: run the author's own code on the validation frames; edgec's model must compute what it does."""
        if not self.resolved.request.against:
            return ()
        from edgec.checkpoint.against import find_author
        from edgec.fidelity.gate import check_author

        reference = references[0].only(("cls", "patches"))
        with self.progress.stage("compare with the author's code", len(reference.frames)) as step:
            author = find_author(self.resolved.request.checkpoint, self._checkpoint.normalisation)
            return (check_author(replace(reference, heads=()), author.run, author.name, step),)

    def verify_export(self, hub: Hub, references: Sequence[Reference]) -> tuple[StageFidelity, ...]:
        """Run the hub graph on the validation frames; it must compute what PyTorch does. At each size."""
        return tuple(self._verify_export_one(each, reference) for each, reference in zip(hub.all, references, strict=True))

    def _verify_export_one(self, hub: Hub, reference: Reference) -> StageFidelity:
        def produce(directory: Path) -> None:
            from edgec.graph.session import features_of, open_session

            session = open_session(hub.load(), threads=self.resolved.threads)
            fidelity = check_export(reference, lambda frames: features_of(session, frames), self._batch, step)
            dump(directory / "fidelity.json", fidelity.model_dump(mode="json"))

        with self.progress.stage(f"verify the hub graph{self._at(hub.size)}", self._batches([reference])) as step:
            directory = self.cache.stage("hub-fidelity", self._key(hub, reference), produce)
        fidelity = StageFidelity.model_validate(load(directory / "fidelity.json"))
        return fidelity.model_copy(update={"stage": f"{fidelity.stage}{self._at(hub.size)}"})
