"""Running an artefact's golden frames again: does it still compute what was recorded when it was built?

Needs only numpy and the artefact's runtime: it runs on the robot. Nothing in the artefact can loosen what is required: see
`edgec.artefact.tolerances`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgec.artefact.checking import OutputCheck, check_outputs, rerun
from edgec.artefact.machine import execution, fingerprint
from edgec.artefact.operations import first_changed_operation
from edgec.artefact.reading import OpenArtefact, OpenSize, open_artefact
from edgec.artefact.statements import check_fidelity, check_report
from edgec.artefact.tolerances import allowed, ran_alike
from edgec.backends.registry import all_backends
from edgec.errors import TargetError, VerificationError
from edgec.fidelity.trace import Difference
from edgec.lowering import registry
from edgec.lowering.base import Features, Runner
from edgec.records.reading import printable

_OLD = "An older edgec wrote this artefact: neither its manifest nor its report is sealed, and less of it can be checked."
_MOST_THREADS = 1024
_SHOWN = 20


@dataclass(frozen=True)
class VerifyResult:
    """What was verified, and how it ran. `execution_precision` is what the runtime says that it computes in here,
    `recorded_precision` what it said on the machine that built the artefact."""

    directory: Path
    build_key: str
    runtime: str
    execution_precision: str
    recorded_precision: str
    threads: int
    same_machine: bool
    """Whether the golden frames ran as when they were recorded, so that the same features were required."""
    files: int
    frames: int
    outputs: tuple[OutputCheck, ...]
    notes: tuple[str, ...] = ()
    """What could not be checked, and why."""


def verify(path: Path, *, threads: int | None = None, min_fidelity: float | None = None) -> VerifyResult:
    """Check every hash, compare what the artefact says in several places, run the golden frames through every graph that a board
    may choose, and compare every output with the recorded one.

    If the frames run here as when they were recorded, the same features are required, up to a millionth; if not, they may differ
    by what other kernels explain. `threads`: by default as many as then on such a machine, elsewhere the usable cores.
    `min_fidelity`: the least that the artefact may have kept of float32, and the lowest gate that a board may get; by default
    what edgec allows for its precision.

    Raises `ArtefactError` if the artefact is damaged or contradicts itself, `TargetError` if its runtime is not installed,
    `RuntimeFailure` if the runtime refuses the files, and `VerificationError` if an output is missing, of another shape, not
    finite, or too different. The message names output, frame, difference and cosine, and the first operation that computes
    something else, if operations were recorded.
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
    default_features: Features | None = None
    for size in artefact.sizes:
        name = _name(size, artefact)
        most = allowed(manifest.precision, size.facts.golden, same=same)
        try:
            actual = rerun(runner, size)
            outputs += check_outputs(size, actual, size.golden.expected_shipped, most, at=name)
        except VerificationError as error:
            raise _naming(error, first_changed_operation(artefact, size, runner)) from None
        if difference := first_changed_operation(artefact, size, runner):
            changed[name] = difference
        default_features = default_features or actual
    loose: list[str] = []
    for backend in all_backends().values():
        checks = backend.check_variants(artefact, default_features or {}, runner.threads, same=same)
        outputs += checks.outputs
        loose += checks.loose
        notes += checks.notes
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
        outputs=tuple(outputs),
        notes=tuple(notes),
    )
    failed = [output for output in result.outputs if not output.passed]
    if failed or changed:
        raise _failure(result, failed, changed)
    if loose:
        raise VerificationError(
            f"The artefact at {artefact.directory} allows boards to lose more than its graphs do.",
            evidence=loose[:_SHOWN],
            remedy="do not deploy it: build it again",
        )
    return result


def _recorded_threads(artefact: OpenArtefact) -> int | None:
    """How many threads the frames were recorded with: sums are split among threads, and are the same only with as many. None on
    another machine, where they differ anyway."""
    recorded = artefact.manifest.execution
    usable = recorded and recorded.machine == fingerprint() and recorded.threads <= _MOST_THREADS
    return recorded.threads if recorded and usable else None


def _naming(error: VerificationError, changed: Difference | None) -> VerificationError:
    """The same error, with the operation where the model begins to compute something else, if that is known."""
    if changed is None:
        return error
    fact = f"the first operation that differs is {printable(str(changed))}"
    return VerificationError(error.what, evidence=(fact, *error.evidence), remedy=error.remedy)


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
    """The size in words; empty if the artefact has only one."""
    height, width = size.facts.input.shape[1:3]
    return f"{height}x{width}" if len(artefact.sizes) > 1 else ""


def _failure(result: VerifyResult, failed: list[OutputCheck], changed: Mapping[str, Difference]) -> VerificationError:
    """`changed` are the first operations that differ, by size, whose name is empty if there is only one."""

    def at(size: str) -> str:
        return f"at {size} " if size else ""

    def describe(output: OutputCheck) -> str:
        graph = f"the {printable(output.variant)} graph's " if output.variant else ""
        where = f"{at(output.size)}{graph}output {printable(output.name)}, golden frame {output.frame}: "
        if output.role == "labels":
            return f"{where}{output.cosine:.3%} of its labels are those recorded (at least {output.min_cosine:.3%})"
        return (
            f"{where}{'' if output.finite else 'holds NaN or Inf; '}largest difference {output.difference:.4g} (tolerance "
            f"{output.tolerance:.4g}), lowest cosine {output.cosine:.6f} (at least {output.min_cosine:g})"
        )

    facts = [f"{at(size)}the first operation that differs is {printable(str(first))}" for size, first in changed.items()]
    facts += map(describe, failed)
    same = "on such a machine, with the same version and as many threads" if result.same_machine else "differently or elsewhere"
    here, recorded = printable(result.execution_precision), printable(result.recorded_precision)
    return VerificationError(
        f"The artefact at {result.directory} does not compute what was recorded: {facts[0]}.",
        evidence=(
            *facts[1:],
            f"{printable(result.runtime)} computes here in: {here or 'unknown'}; when it was built, in: {recorded or 'unknown'}",
            f"compared with when it was built, it ran {same}",
        ),
        remedy="do not deploy it on this machine: build it here, or for a target with the same instructions and runtime version",
    )
