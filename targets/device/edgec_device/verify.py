"""verify: run the golden frames through an engine, and compare its features and heads' outputs with the golden ones. No engine is
activated without it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Mapping, Sequence

from edgec_onboard import plain
from edgec_onboard.documents import Tensor
from edgec_onboard.errors import ArtefactError, BoardError, DiskFull, VerificationFailed
from edgec_onboard.figures import kept
from edgec_onboard.judging import GATES, Judge, batches, golden_problem, shape_problems
from edgec_onboard.measurements import now
from edgec_onboard.plain import Values
from edgec_onboard.tasks import FEATURES, LABELS, headline

from edgec_device.bundle import COPY_AGAIN
from edgec_device.errors import EngineFailed
from edgec_device.npy import Array, read_npz
from edgec_device.session import Engine, Session

_TYPES = {"f": "float32", "i": "int32"}
"""Of outputs whose types are the engine's own: trtexec's are numbers in JSON."""


def verify(session: Session, engines: Sequence[Engine], *, again: bool) -> dict[str, BoardError]:
    """Verify each engine and record the figures in its folder. Returns the variants that failed, with the reason.

    An engine that was verified before is not verified again, whether it passed or not, unless `again` is set.
    """
    bundle = session.bundle
    session.output.step("verify", f"{bundle.golden_count} golden frames against float32's")
    failed: dict[str, BoardError] = {}
    golden = _Golden(session)
    for engine in engines:
        name = engine.variant.name
        try:
            record = None if again else engine.verified(bundle)
            before = record is not None
            if record is None:
                if not engine.whole:
                    raise damaged(engine)
                record = _verify(session, engine, golden)
                engine.keep("verify", record)
            if not record["passed"]:
                raise VerificationFailed(
                    "The engine does not reproduce the golden features; it is never activated.",
                    evidence=record["problems"],
                    remedy="other variants are tried; `run-all --again` builds and verifies this one again",
                )
        except DiskFull:
            raise
        except BoardError as error:
            failed[name] = error
            session.remember_problem(name, "verify", str(error))
            session.output.problem("verify", name, error)
            continue
        session.remember_problem(name, "verify", None)
        figures, tasks = record["figures"], record["tasks"]
        parts = ["cls {}, patches {}, worst 1 % {}".format(*(kept(figures[gate]) for gate in GATES))] if figures else []
        parts += map(headline, tasks)
        words = (record.get("observed") or {}).get("words")
        parts += [words] if words else []
        text = f"  {name}: {', '.join(parts)}{' (known)' if before else ''}"
        result = "unchanged" if before else "passed"
        session.output.emit("done", text, step="verify", variant=name, result=result, figures=figures, tasks=tasks)
    return failed


def damaged(engine: Engine) -> BoardError:
    """The error for an engine whose file has changed since it was built."""
    return EngineFailed(
        f"The engine of {engine.variant.name} is not what was built.",
        evidence=[f"{engine.folder} has other content than when it was built"],
        remedy="run `build`, which builds it again; check the disk, because files do not change by themselves",
    )


class _Golden:
    """Golden frames and expected outputs, read once and checked against the bundle. `recorded` are those that heads' bounds refer
    to, `largest` the largest absolute values of heads' outputs among these."""

    def __init__(self, session: Session) -> None:
        bundle, release = session.bundle, session.require_release()
        self.frames = _arrays(release / bundle.golden_frames, [bundle.input], bundle.golden_count)[bundle.input.name]
        self.expected = _arrays(release / bundle.golden_expected, bundle.outputs, bundle.golden_count)
        self.recorded, paths = self.expected, [bundle.golden_expected]
        if bundle.golden_recorded:
            self.recorded = _arrays(release / bundle.golden_recorded, bundle.outputs, bundle.golden_count)
            paths.append(bundle.golden_recorded)
        for path, arrays in zip(paths, (self.expected, self.recorded)):
            for tensor in bundle.outputs:
                problem = golden_problem(tensor, arrays[tensor.name].values, plain)
                if problem:
                    raise _does_not_fit(release / path, problem)
        heads = [tensor.name for tensor in bundle.outputs if tensor.role != FEATURES]
        self.largest = {name: plain.largest(self.recorded[name].values) for name in heads}


def _arrays(path: Path, tensors: Sequence[Tensor], count: int) -> Mapping[str, Array]:
    arrays = read_npz(path)
    for tensor in tensors:
        shape = (count, *tensor.shape[1:])
        if tensor.name not in arrays or arrays[tensor.name].shape != shape:
            raise _does_not_fit(path, f"{tensor.name} of shape {shape} expected")
    return arrays


def _does_not_fit(path: Path, problem: str) -> ArtefactError:
    return ArtefactError(f"The golden file {path.name} does not fit the bundle.", evidence=[problem], remedy=COPY_AGAIN)


def _verify(session: Session, engine: Engine, golden: _Golden) -> dict[str, Any]:
    bundle, began = session.bundle, time.monotonic()
    bounds = engine.variant.bounds
    judge = Judge(bundle.outputs, plain, gate=bundle.gate, budget=bundle.budget, bounds=bounds, largest=golden.largest)
    problems: list[str] = []
    together = batches(bundle.golden_count, bundle.input.shape[0])
    done, name, likeness = 0, engine.variant.name, _Likeness(bundle.outputs)
    frames = (b"".join(golden.frames.row(index).tobytes() for index in indices) for indices in together)
    with session.layout.scratch(session.layout.work) as work:
        log = session.layout.logs / f"verify-{name}.log"
        computed = session.tool.outputs(engine.variant, engine.file, frames, bundle.outputs, bundle.input, work=work, log=log)
        for number, (indices, outputs) in enumerate(zip(together, computed)):
            problems = _shape_problems(bundle.outputs, outputs)
            if problems:
                break
            for row, index in enumerate(indices):
                if index < done:  # it only fills the batch
                    continue
                done += 1
                expected = {tensor.name: golden.expected[tensor.name].row(index) for tensor in bundle.outputs}
                actual = {tensor.name: outputs[tensor.name].row(row) for tensor in bundle.outputs}
                recorded = {tensor.name: golden.recorded[tensor.name].row(index) for tensor in bundle.outputs}
                judge.add(index, expected, actual, recorded)
                if bundle.golden_recorded:
                    likeness.add(recorded, actual)
            session.output.emit(
                "progress",
                step="verify",
                variant=name,
                seconds=round(time.monotonic() - began, 1),
                detail=f"batch {number + 1} of {len(together)}",
            )
    verdict = judge.verdict(problems)
    return {
        "passed": not verdict.problems,
        "problems": verdict.problems[:10],
        "figures": verdict.figures,
        "tasks": verdict.tasks,
        "frames": verdict.frames,
        "gate": dict(bundle.gate),
        "budget": dict(bundle.budget),
        "bounds": {name: dict(bound) for name, bound in bounds.items()},
        "golden_sha256": bundle.golden_sha256,
        "recorded": likeness.worst,
        "observed": dict(session.tool.observed),
        "flags": session.tool.verify_flags,
        "seconds": round(time.monotonic() - began, 1),
        "created": now(),
        "evidence": session.grade(session.doubts() + session.tool.engine_doubts(engine.file)),
    }


class _Likeness:
    """How close an engine's outputs are to what was recorded of the same files: in `worst`, the smallest `cosine` of a feature
    vector and of one frame's output of a head, and the smallest share of a frame's `labels` that agree."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self.worst: dict[str, float] = {}

    def add(self, recorded: Mapping[str, Values], actual: Mapping[str, Values]) -> None:
        """Add one frame."""
        for tensor in self._tensors:
            one, other = recorded[tensor.name], actual[tensor.name]
            if tensor.role == LABELS:
                kind, value = "labels", plain.agreement(one, other)
            else:
                width = tensor.shape[-1] if tensor.role == FEATURES else len(one)
                kind, value = "cosine", min(plain.vector_cosines(one, other, width))
            self.worst[kind] = min(value, self.worst.get(kind, value))


def likeness_in_words(worst: Mapping[str, float]) -> list[str]:
    """What `_Likeness` collected, a sentence each."""
    sentences = []
    if "cosine" in worst:
        sentences.append("lowest cosine with what edgec's evaluator computed: {:.6f}.".format(worst["cosine"]))
    if "labels" in worst:
        share = worst["labels"]
        sentences.append(f"share of labels that agree with edgec's evaluator in the worst golden frame: {share:.4%}.")
    return sentences


def _shape_problems(tensors: Sequence[Tensor], outputs: Mapping[str, Array]) -> list[str]:
    problems = shape_problems(
        {tensor.name: (tensor.shape, tensor.dtype) for tensor in tensors},
        {str(name): (output.shape, _TYPES.get(output.values.typecode)) for name, output in outputs.items()},
    )
    return problems or [
        f"{tensor.name} has {len(outputs[tensor.name].values)} values, not {tensor.size}"
        for tensor in tensors
        if len(outputs[tensor.name].values) != tensor.size
    ]
