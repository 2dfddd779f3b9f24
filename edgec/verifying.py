"""Running an artefact's golden frames again: does it still compute what was recorded when it was built?

Needs numpy and the artefact's runtime, nothing else: it runs on the robot. Nothing that it demands can be loosened by what the
artefact says: see `edgec.artefact.tolerances`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.checking import OutputCheck, check_outputs
from edgec.artefact.machine import execution, fingerprint
from edgec.artefact.operations import first_changed_operation
from edgec.artefact.reading import OpenArtefact, OpenSize, open_artefact
from edgec.artefact.statements import check_fidelity, check_report
from edgec.artefact.tolerances import allowed, ran_alike
from edgec.backends.checking import below_least, looser_bounds, read_document
from edgec.backends.program import BUNDLE
from edgec.backends.registry import all_backends
from edgec.batches import batches
from edgec.errors import TargetError, VerificationError
from edgec.fidelity.trace import Difference
from edgec.lowering import registry
from edgec.lowering.base import Features, LoweredModel, Runner
from edgec.records.reading import printable

Array = NDArray[Any]
_OLD = "An older edgec wrote this artefact: neither its manifest nor its report is sealed, and less of it can be checked."
_MOST_THREADS = 1024
_SHOWN = 20


@dataclass(frozen=True)
class VerifyResult:
    """What was verified, and how it ran. `execution_precision` is what the runtime says here, `recorded_precision` what it said
    on the machine that built the artefact."""

    directory: Path
    build_key: str
    runtime: str
    execution_precision: str
    recorded_precision: str
    threads: int
    same_machine: bool
    """Whether the golden frames ran as they did when they were recorded, so that the same features had to come back."""
    files: int
    frames: int
    outputs: tuple[OutputCheck, ...]
    notes: tuple[str, ...] = ()
    """What could not be checked, and why."""


def verify(path: Path, *, threads: int | None = None, min_fidelity: float | None = None) -> VerifyResult:
    """Check every hash, hold what the artefact says in several places against each other, run the golden frames, of every graph
    that a board may choose, and compare every output with the shipped features that the artefact records.

    Where the frames run as they did when they were recorded, the same features must come back, but for a millionth; elsewhere,
    what kernels differ by is allowed. `threads`: as many as then on such a machine, elsewhere the usable cores, by default.
    `min_fidelity`: the least that the artefact may have kept of float32, and that its gate for boards may be; by default what
    edgec allows of its precision.

    Raises `ArtefactError` if the artefact is damaged or contradicts itself, `TargetError` if its runtime is not installed,
    `RuntimeFailure` if that refuses the files, and `VerificationError`, naming output, frame, difference and cosine, if an output
    is missing, of another shape, not finite, or further away than is allowed; naming the first operation that computes something
    else, where operations were recorded.
    """
    artefact = open_artefact(path)
    manifest = artefact.manifest
    report = check_report(manifest, artefact.directory)
    check_fidelity(artefact, min_fidelity)
    notes = [] if manifest.execution else [_OLD]
    for backend in all_backends().values():
        notes += backend.check(artefact, report, min_fidelity)
    runner = load_runner(artefact, threads or _recorded_threads(artefact))
    same = ran_alike(manifest, runner, execution(manifest.runtime, runner))
    outputs: list[OutputCheck] = []
    changed: dict[str, Difference] = {}
    ran: Features | None = None
    for size in artefact.sizes:
        name = _name(size, artefact)
        most = allowed(manifest.precision, size.facts.golden, same=same)
        try:
            actual = _run(runner, size)
            outputs += check_outputs(size, actual, size.golden.expected_shipped, most, at=name)
        except VerificationError as error:
            raise _naming(error, first_changed_operation(artefact, size, runner)) from None
        if found := first_changed_operation(artefact, size, runner):
            changed[name] = found
        ran = ran or actual
    checks, loose = _variants(artefact, ran or {}, runner.threads, same=same)
    result = VerifyResult(
        directory=artefact.directory,
        build_key=manifest.build_key,
        runtime=manifest.runtime,
        execution_precision=runner.execution_precision,
        recorded_precision=manifest.execution_precision,
        threads=runner.threads,
        same_machine=same,
        files=len(manifest.files),
        frames=sum(len(size.golden.frames) for size in artefact.sizes),
        outputs=(*outputs, *checks),
        notes=tuple(notes),
    )
    failed = [output for output in result.outputs if not output.passed]
    if failed or changed:
        raise _failure(result, failed, changed)
    if loose:
        raise VerificationError(
            f"The artefact at {artefact.directory} lets boards lose more than its own graphs do.",
            evidence=loose[:_SHOWN],
            remedy="do not deploy it: build it again",
        )
    return result


def _recorded_threads(artefact: OpenArtefact) -> int | None:
    """Sums are split by threads: with as many as then, they are the same. None on another machine, where they are not."""
    then = artefact.manifest.execution
    return then.threads if then and then.machine == fingerprint() and then.threads <= _MOST_THREADS else None


def _variants(artefact: OpenArtefact, ran: Features, threads: int, *, same: bool) -> tuple[list[OutputCheck], list[str]]:
    """Every graph that a board may choose, beside what was recorded of it; and the bounds that a board is told for it, beside
    those that its own features give. Graphs of which nothing was recorded are compared with float32. `ran`: what the entry
    gave."""
    size, manifest = artefact.sizes[0], artefact.manifest
    if BUNDLE not in {file.path for file in manifest.files}:
        return [], []
    document = read_document(artefact, BUNDLE)
    recorded = {variant.facts.precision: variant for variant in artefact.variants}
    checks, loose = [], []
    for said in document["variants"]:
        precision, entry = said["precision"], said["path"]
        lowered = LoweredModel(manifest.runtime, artefact.directory, entry, (entry,))
        is_entry = entry == manifest.entry
        actual = ran if is_entry else _run(registry.get(manifest.runtime).load(lowered, threads=threads), size)
        most = allowed(precision, same=same)
        if precision in recorded:
            found = check_outputs(size, actual, recorded[precision].expected, most, variant=precision)
            checks += [check for check in found if not (is_entry and check.passed)]
        else:
            loose += below_least(precision, artefact, actual)
        loose += looser_bounds(document, precision, artefact, actual, most)
    return checks, loose


def _naming(error: VerificationError, changed: Difference | None) -> VerificationError:
    """The same refusal, which says where the model begins to compute something else, if that is known."""
    if changed is None:
        return error
    said = f"the first operation that differs is {printable(str(changed))}"
    return VerificationError(error.what, evidence=(said, *error.evidence), remedy=error.remedy)


def load_runner(artefact: OpenArtefact, threads: int | None = None) -> Runner:
    """The artefact's model in its runtime. Raises `TargetError` if that is not installed here."""
    lowering = registry.get(artefact.manifest.runtime)
    availability = lowering.runnable()
    if not availability.available:
        raise TargetError(
            f"This artefact runs in {lowering.title}, which is not available here.",
            evidence=availability.problem,
            remedy=availability.install,
        )
    return lowering.load(artefact.lowered, threads=threads)


def _name(size: OpenSize, artefact: OpenArtefact) -> str:
    """Empty where there is one."""
    height, width = size.facts.input.shape[1:3]
    return f"{height}x{width}" if len(artefact.sizes) > 1 else ""


def _run(runner: Runner, size: OpenSize) -> Features:
    """All golden frames of a size, in batches of the artefact's own."""
    wanted = size.facts.outputs
    parts: dict[str, list[Array]] = {output.name: [] for output in wanted}
    for batch, places in batches(size.golden.frames, size.facts.input.shape[0]):
        features = runner(batch)
        for output in wanted:
            found = features.get(output.name)
            if found is None or found.shape != output.shape:
                raise VerificationError(
                    f"Output {printable(output.name)} is {'missing' if found is None else 'of another shape'}.",
                    evidence=(
                        f"recorded: {output.shape}; here: {None if found is None else found.shape}",
                        f"the model's outputs: {', '.join(features)}",
                    ),
                    remedy="build the artefact again",
                )
            parts[output.name].append(found[: places.stop - places.start])
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _failure(result: VerifyResult, failed: list[OutputCheck], changed: Mapping[str, Difference]) -> VerificationError:
    """`changed` by size, whose name is empty where there is one."""

    def at(size: str) -> str:
        return f"at {size} " if size else ""

    def say(output: OutputCheck) -> str:
        graph = f"the {printable(output.variant)} graph's " if output.variant else ""
        where = f"{at(output.size)}{graph}output {printable(output.name)}, golden frame {output.frame}: "
        if output.role == "labels":
            return f"{where}{output.cosine:.3%} of its labels are those recorded (at least {output.min_cosine:.3%})"
        return (
            f"{where}{'' if output.finite else 'holds NaN or Inf; '}largest difference {output.difference:.4g} (tolerance "
            f"{output.tolerance:.4g}), worst cosine {output.cosine:.6f} (at least {output.min_cosine:g})"
        )

    said = [*map(say, failed)]
    said[:0] = [f"{at(size)}the first operation that differs is {printable(str(found))}" for size, found in changed.items()]
    same = "on such a machine, with that version and as many threads" if result.same_machine else "elsewhere, or otherwise"
    here, recorded = printable(result.execution_precision), printable(result.recorded_precision)
    return VerificationError(
        f"The artefact at {result.directory} does not compute what was recorded: {said[0]}.",
        evidence=(
            *said[1:],
            f"{printable(result.runtime)} computes here in: {here or 'unknown'}; when it was built, in: {recorded or 'unknown'}",
            f"beside when it was built, it ran {same}",
        ),
        remedy="do not deploy it on this machine: build it here, or for a target with the same instructions and runtime version",
    )
