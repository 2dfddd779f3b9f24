"""From a checkpoint and frames to the hub graph, and to the features that everything is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec import cache as cached
from edgec import frames as framing
from edgec.fidelity.gate import check_author, check_export
from edgec.fidelity.reference import Reference, read_reference, write_reference
from edgec.frames import Split
from edgec.frames.lint import LintFinding, lint_chosen
from edgec.frames.measuring import Look
from edgec.heads import check_heads
from edgec.heads.fitting import feature_shapes
from edgec.model.spec import Size, describe, family_name, gflops, parameters
from edgec.records.fidelity import HeadFacts, StageFidelity
from edgec.records.manifest import CheckpointFacts, LicenceFacts
from edgec.records.report import ModelFacts
from edgec.stages.base import Build, Hub, dump, identities, key_of, load
from edgec.stages.heads import require_operations

if TYPE_CHECKING:
    from torch import nn

    from edgec.checkpoint import Checkpoint


def check_the_heads(build: Build) -> None:
    """Check that each head fits the backbone and that some runtime of the target can run it, before frames are read and anything
    is exported. Raises `HeadError`, or `UnsupportedOperation` naming operation, head and target."""
    resolved = build.resolved
    if not resolved.heads:
        return

    def produce(directory: Path) -> None:
        spec = build.checkpoint.spec
        for size in resolved.request.sizes:
            check_heads(build.heads, spec, size)
            require_operations(build.heads, feature_shapes(spec, size, build.batch), size, resolved)

    key = build.key(
        [str(size) for size in resolved.request.sizes],
        [resolved.target, list(resolved.pairs), [profile.model_dump(mode="json") for profile in resolved.profiles]],
    )
    with build.progress.stage("check the heads"):
        build.stage("heads", key, produce, modules=("edgec.stages.heads", "edgec.checkpoint", *resolved.modules))


def choose_frames(build: Build) -> Split:
    """Choose the frames to calibrate on and those to judge modules."""
    resolved = build.resolved
    limit, seed = resolved.request.calibration_frames, resolved.request.seed

    def produce(directory: Path) -> None:
        split = framing.split(resolved.frames, limit=limit, seed=seed)
        names = {
            "calibration": [frame.name for frame in split.calibration],
            "validation": [frame.name for frame in split.validation],
            "skipped": split.skipped,
            "copies": split.copies,
            "notes": split.notes,
            "looks": {name: look.as_json() for name, look in split.looks.items()},
        }
        dump(directory / "split.json", names)

    with build.progress.stage("choose frames"):
        key = cached.key(resolved.frames.sha256, resolved.frames.name, limit, seed)
        names = load(build.stage("split", key, produce, modules=("edgec.frames",)) / "split.json")
    for note in names["notes"]:
        build.progress.note(note)
    by_name = {frame.name: frame for frame in resolved.frames.frames}
    return Split(
        tuple(by_name[name] for name in names["calibration"]),
        tuple(by_name[name] for name in names["validation"]),
        tuple((name, reason) for name, reason in names["skipped"]),
        tuple(names["copies"]),
        tuple(names["notes"]),
        {name: Look.from_json(look) for name, look in names["looks"].items()},
    )


def lint_frames(build: Build, split: Split) -> tuple[LintFinding, ...]:
    """What the linter says of the chosen frames at the requested sizes, without decoding them again. Warnings are told at once:
    what follows takes minutes, and rests on these frames."""
    resolved = build.resolved
    findings = lint_chosen(split, resolved.request.sizes, random=resolved.frames.random)
    for finding in findings:
        if finding.level != "note":
            build.progress.note(finding.text)
    return findings


def export_hub(build: Build) -> Hub:
    """Read the checkpoint, assemble the model and export it to the hub graph, for each size."""
    first, *others = (_export_one(build, size) for size in build.resolved.request.sizes)
    return replace(first, others=tuple(others))


def _export_one(build: Build, size: Size) -> Hub:
    request = build.resolved.request

    def produce(directory: Path) -> None:
        from edgec.graph.export import export
        from edgec.graph.files import save
        from edgec.graph.operations import operations
        from edgec.graph.values import name_of
        from edgec.heads.attach import attach
        from edgec.model.camera import assemble

        checkpoint, heads = build.checkpoint, build.heads
        classifier = None if checkpoint.classifier is None else checkpoint.classifier.numpy()
        check_heads(heads, checkpoint.spec, size, pooling=checkpoint.pooling, classifier=classifier)
        model = assemble(checkpoint, size, folded=True, registers=request.registers, layers=build.layers)
        hub = export(model, checkpoint.spec, size, request.batch)
        if heads:
            hub = attach(hub, heads, layers=request.layers)
        save(hub, directory / "hub.onnx")
        outputs = [name_of(output) for output in hub.graph.outputs]
        macs = sum(operation.macs for operation in operations(hub) if operation.kind == "head") / request.batch
        dump(directory / "checkpoint.json", _describe(build, checkpoint, size, outputs, 2e-9 * macs))

    with build.progress.stage(f"export the hub graph{build.at(size)}"):
        modules = "edgec.checkpoint", "edgec.graph.export", "edgec.graph.files", "edgec.heads.attach", "edgec.model.camera"
        directory = build.stage("hub", build.key(str(size)), produce, modules=modules)
    facts = load(directory / "checkpoint.json")
    heads = tuple(HeadFacts.model_validate(head) for head in facts["heads"])
    head_outputs = [name for head in heads for name in head.outputs]
    return Hub(
        directory / "hub.onnx",
        size,
        CheckpointFacts.model_validate(facts["facts"]),
        ModelFacts.model_validate(facts["model"]),
        tuple(facts["outputs"]),
        tuple(facts["outputs"] if request.features else head_outputs),
        facts["licence"],
        facts["notice"],
        heads,
    )


def _describe(build: Build, checkpoint: Checkpoint, size: Size, outputs: list[str], head_gflops: float) -> dict[str, Any]:
    """What checkpoint.json holds about the exported model. `head_gflops` are those of all heads for one frame."""
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
        gflops=round(gflops(checkpoint.spec, size) + head_gflops, 3),
        parameters=parameters(checkpoint.spec),
    )
    return {
        "facts": facts.model_dump(mode="json"),
        "model": model.model_dump(mode="json"),
        "outputs": outputs,
        "heads": [head.facts for head in build.heads],
        "licence": licence.text,
        "notice": licence.notice,
    }


def compute_references(build: Build, hub: Hub, split: Split) -> tuple[Reference, ...]:
    """The float32 PyTorch model's features and heads' outputs on the validation frames, at each size: all outputs of the hub."""
    return tuple(_reference_one(build, each, split) for each in hub.all)


def reference_model(build: Build, size: Size) -> nn.Module:
    """The float32 PyTorch model of the checkpoint, with its heads and nothing folded: what everything is compared with."""
    from edgec.heads.reference import CameraModelWithHeads
    from edgec.model.camera import assemble

    request = build.resolved.request
    camera = assemble(build.checkpoint, size, folded=False, registers=request.registers, layers=build.layers)
    return CameraModelWithHeads(camera, build.heads, layers=request.layers) if build.heads else camera


def _reference_one(build: Build, hub: Hub, split: Split) -> Reference:
    def produce(directory: Path) -> None:
        pictures = [picture for _, picture in framing.batches(split.validation, hub.size)]
        write_reference(reference_model(build, hub.size), pictures, directory, step)

    with build.progress.stage(f"float32 reference in PyTorch{build.at(hub.size)}", len(split.validation)) as step:
        key = build.key(str(hub.size), identities(split.validation))
        modules = "edgec.checkpoint", "edgec.fidelity.reference", "edgec.frames", "edgec.heads.reference", "edgec.model.camera"
        gflop = hub.model.gflops * len(split.validation)
        directory = build.stage("reference", key, produce, modules=modules, gflop=gflop)
    reference = read_reference(directory, hub.graph_outputs, hub.heads)
    return replace(reference, key=key_of(directory), gflops=hub.model.gflops)


def only_shipped(hub: Hub, references: Sequence[Reference]) -> tuple[Reference, ...]:
    """The references with the artefact's outputs only."""
    return tuple(reference.only(hub.outputs) for reference in references)


def verify_against_author(build: Build, references: Sequence[Reference]) -> tuple[StageFidelity, ...]:
    """If requested, run the author's own code on the validation frames: edgec's model must compute the same. Raises
    `ExportError` if it does not."""
    if not build.resolved.request.against:
        return ()
    from edgec.checkpoint.author import find_author
    from edgec.quiet import inductor_folder_goes

    reference = references[0].only(("cls", "patches"))
    # The author's packages import what compiles models, also where the export, which does too, is in the cache.
    with build.progress.stage("compare with the author's code", len(reference.frames)) as step, inductor_folder_goes():
        author = find_author(build.resolved.request.checkpoint, build.checkpoint.normalisation)
        return (check_author(replace(reference, heads=()), author.run, author.name, step),)


def verify_export(build: Build, hub: Hub, references: Sequence[Reference]) -> tuple[StageFidelity, ...]:
    """Run the hub graph on the validation frames, at each size: it must compute what PyTorch does. Raises `ExportError` if
    not."""
    return tuple(_verify_export_one(build, each, reference) for each, reference in zip(hub.all, references, strict=True))


def _verify_export_one(build: Build, hub: Hub, reference: Reference) -> StageFidelity:
    def produce(directory: Path) -> None:
        from edgec.graph.session import features_of, open_session

        session = open_session(hub.load(), threads=build.resolved.threads)
        fidelity = check_export(reference, lambda frames: features_of(session, frames), build.batch, step)
        dump(directory / "fidelity.json", fidelity.model_dump(mode="json"))

    with build.progress.stage(f"verify the hub graph{build.at(hub.size)}", build.batches([reference])) as step:
        modules = "edgec.fidelity.gate", "edgec.graph.session"
        gflop = hub.model.gflops * len(reference.frames)
        directory = build.stage("hub-fidelity", build.key(hub, reference), produce, modules=modules, gflop=gflop)
    fidelity = StageFidelity.model_validate(load(directory / "fidelity.json"))
    return fidelity.model_copy(update={"stage": f"{fidelity.stage}{build.at(hub.size)}"})
