"""verify: the golden frames through the engine, and its features and what its heads give against the golden ones. No engine runs
a robot without it."""

from __future__ import annotations

import re
import time
from array import array
from pathlib import Path
from typing import Any, Mapping, Sequence

from edgec_device import fidelity, tasks
from edgec_device.bundle import FEATURES, GATES, LABELS, Bundle, Tensor
from edgec_device.errors import BundleError, DeviceError, DiskFull, TrtexecFailed, VerificationFailed
from edgec_device.evidence import engine_doubts
from edgec_device.flags import verify_flags
from edgec_device.npy import Array, read_npz
from edgec_device.output import elapsed, shorten
from edgec_device.session import PLAN, Engine, Session
from edgec_device.untrusted import MOST_VALUES, parse_json, read_bytes

FRAMES = "frames.bin"
_OUTPUT = "outputs.json"
_NOT_JSON = re.compile(r"(?<![A-Za-z\"])(-?)(nan|inf)(?:inity)?(?:\(\w*\))?(?![A-Za-z\"])")
_LEAST_DIFFERENT = 1e-3
_VALUE_BYTES, _ROOM = 32, 1 << 16
"""What trtexec writes of a value at most, and what it may write beside the values."""


def verify(session: Session, engines: Sequence[Engine], *, again: bool) -> dict[str, DeviceError]:
    """Verify each engine and keep the figures beside it. Returns the variants that failed, with the reason.

    An engine that was verified before is not verified again, whatever came of it, unless `again` is set.
    """
    bundle = session.bundle
    session.output.step("verify", f"{bundle.golden_count} golden frames against float32's")
    failed: dict[str, DeviceError] = {}
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
                    remedy="other variants are tried; `run-all --again` builds and verifies this one anew",
                )
        except DiskFull:
            raise
        except DeviceError as error:
            failed[name] = error
            session.remember_problem(name, "verify", str(error))
            session.output.problem("verify", name, error)
            continue
        session.remember_problem(name, "verify", None)
        figures, found = record["figures"], record["tasks"]
        parts = ["cls {:.4f}, patches {:.4f}, worst percent {:.4f}".format(*(figures[gate] for gate in GATES))] if figures else []
        parts += map(tasks.told, found)
        text = f"  {name}: {', '.join(parts)}{' (known)' if before else ''}"
        result = "unchanged" if before else "passed"
        session.output.emit("done", text, step="verify", variant=name, result=result, figures=figures, tasks=found)
    return failed


def damaged(engine: Engine) -> DeviceError:
    return TrtexecFailed(
        f"The engine file of {engine.variant.name} is not what was built.",
        evidence=[f"{engine.plan} has another SHA-256 than it had"],
        remedy="run `build`: it builds it anew; check the disk, for files do not change by themselves",
    )


class _Golden:
    """Frames, features and what heads give, read once; checked against what the bundle says of them. `largest` are the largest
    absolute values of the latter."""

    def __init__(self, session: Session) -> None:
        bundle, release = session.bundle, session.require_release()
        self.frames = _arrays(release / bundle.golden_frames, [bundle.input], bundle.golden_count)[bundle.input.name]
        self.expected = _arrays(release / bundle.golden_expected, bundle.outputs, bundle.golden_count)
        heads = [tensor.name for tensor in bundle.outputs if tensor.role != FEATURES]
        self.largest = {name: max(map(abs, self.expected[name].values)) for name in heads}

    def batches(self, bundle: Bundle) -> list[list[int]]:
        """Which frames go through the engine together; a last batch that is not full repeats its last frame."""
        count, batch = bundle.golden_count, bundle.input.shape[0]
        return [[min(index, count - 1) for index in range(start, start + batch)] for start in range(0, count, batch)]


def _arrays(path: Path, tensors: Sequence[Tensor], count: int) -> Mapping[str, Array]:
    arrays = read_npz(path)
    for tensor in tensors:
        shape = (count, *tensor.shape[1:])
        if tensor.name not in arrays or arrays[tensor.name].shape != shape:
            raise BundleError(
                f"The golden file {path.name} does not fit the bundle.",
                evidence=[f"{tensor.name} of shape {shape} expected"],
                remedy="copy the artefact to the board again, whole",
            )
    return arrays


def _verify(session: Session, engine: Engine, golden: _Golden) -> dict[str, Any]:
    bundle, began = session.bundle, time.monotonic()
    flags = verify_flags(session.trtexec.version)
    problems: list[str] = []
    cosines: dict[str, list[float]] = {"cls": [], "patches": []}
    meters = {tensor.name: tasks.Meter(tensor) for tensor in bundle.outputs if tensor.role != FEATURES}
    seen: dict[int, Mapping[str, array[float]]] = {}
    for number, indices in enumerate(golden.batches(bundle)):
        outputs = _run(session, engine, golden, indices, flags)
        mismatches = _mismatches(bundle.outputs, outputs)
        if mismatches:
            problems += mismatches
            break
        batch = bundle.input.shape[0]
        for place, index in enumerate(indices):
            if index in seen:
                continue
            seen[index] = {
                tensor.name: outputs[tensor.name].values[place * (tensor.size // batch) : (place + 1) * (tensor.size // batch)]
                for tensor in bundle.outputs
            }
            for tensor in bundle.outputs:
                actual, expected = seen[index][tensor.name], golden.expected[tensor.name].row(index)
                found = fidelity.oddities(tensor.name, actual, expected)
                if tensor.name in cosines:
                    cosines[tensor.name] += fidelity.cosines(expected, actual, tensor.shape[-1])
                elif tensor.name in meters:
                    meters[tensor.name].add(expected, actual)
                    bounds = engine.variant.bounds[tensor.name]
                    found += tasks.beyond(tensor, bounds, expected, actual, golden.largest[tensor.name])
                problems += [f"frame {index}: {problem}" for problem in found]
        session.output.emit(
            "progress",
            step="verify",
            variant=engine.variant.name,
            seconds=round(time.monotonic() - began, 1),
            detail=f"batch {number + 1} of {len(golden.batches(bundle))}",
        )
    problems += _blind(bundle.outputs, golden, seen)
    figures = fidelity.figures(cosines["cls"], cosines["patches"]) if cosines["cls"] and cosines["patches"] else None
    if figures is not None:
        problems += fidelity.below_gate(figures, bundle.gate)
    return {
        "passed": not problems,
        "problems": problems[:10],
        "figures": figures,
        "tasks": [meter.summary() for meter in meters.values()] if seen else [],
        "frames": len(seen),
        "gate": dict(bundle.gate),
        "bounds": {name: dict(bound) for name, bound in engine.variant.bounds.items()},
        "golden_sha256": bundle.golden_sha256,
        "flags": flags,
        "seconds": round(time.monotonic() - began, 1),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "evidence": session.grade(session.doubts() + engine_doubts(engine.plan)),
    }


def _run(session: Session, engine: Engine, golden: _Golden, indices: Sequence[int], flags: Sequence[str]) -> Mapping[str, Array]:
    name = engine.variant.name
    with session.places.scratch(session.places.work) as work:
        (work / FRAMES).write_bytes(b"".join(golden.frames.row(index).tobytes() for index in indices))
        # Relative names: trtexec splits the value of --loadInputs at colons and commas.
        paths = [f"--loadEngine={engine.plan.resolve()}", f"--loadInputs={session.bundle.input.name}:{FRAMES}"]
        finished = session.trtexec.run(
            [*paths, "--exportOutput=" + _OUTPUT, *flags],
            cwd=work,
            step="verify",
            variant=name,
            log=session.places.logs / f"verify-{name}.log",
        )
        try:
            values = sum(tensor.size for tensor in session.bundle.outputs)
            content = read_bytes(work / _OUTPUT, _VALUE_BYTES * values + _ROOM)
            return read_outputs(content.decode("utf-8", "replace"), values + _ROOM)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise TrtexecFailed(
                f"trtexec's outputs of {PLAN} cannot be read.",
                evidence=[shorten(str(error), 300), f"trtexec ended well after {elapsed(finished.seconds)}"],
                remedy="run `verify` again; if it happens again, report this",
            ) from error


def read_outputs(text: str, most_values: int = MOST_VALUES) -> dict[str, Array]:
    """What --exportOutput wrote (NVIDIA/TensorRT, samples/common/sampleReporting.cpp, exportJSONOutput): JSON, but for NaN and
    infinities, which are as C++ prints them. Raises `ValueError` and its like for anything else."""
    words = {"nan": "NaN", "inf": "Infinity"}
    text = _NOT_JSON.sub(lambda match: words[match.group(2)] if match.group(2) == "nan" else match.group(1) + "Infinity", text)
    found = {}
    for entry in parse_json(text, most_values=most_values, finite=False):
        extents = entry["dimensions"]
        shape = tuple(int(extent) for extent in extents.split("x")) if extents else ()
        found[entry["name"]] = Array(shape, array("d", entry["values"]))
    return found


def _mismatches(tensors: Sequence[Tensor], outputs: Mapping[str, Array]) -> list[str]:
    found = []
    for tensor in tensors:
        output = outputs.get(tensor.name)
        if output is None:
            there = shorten(", ".join(sorted(map(str, outputs))) or "none", 300)
            found.append(f"there is no output {tensor.name}; there are {there}")
        elif output.shape != tensor.shape:
            found.append(f"{tensor.name} has shape {shorten(str(output.shape))}, not {tensor.shape}")
        elif len(output.values) != tensor.size:
            found.append(f"{tensor.name} has {len(output.values)} values, not {tensor.size}")
    return found


def _blind(tensors: Sequence[Tensor], golden: _Golden, seen: Mapping[int, Mapping[str, array[float]]]) -> list[str]:
    """Whether frames whose outputs should differ give the very same ones: then the engine does not look at its input."""
    indices = sorted(seen)
    for one, other in zip(indices, indices[1:]):
        for tensor in tensors:
            values = seen[one][tensor.name]
            if values != seen[other][tensor.name]:
                continue
            first, second = (golden.expected[tensor.name].row(index) for index in (one, other))
            labels = tensor.role == LABELS
            alike = tasks.agreement(first, second) if labels else fidelity.cosines(first, second, len(values))[0]
            if alike < 1 - _LEAST_DIFFERENT:
                return [f"{tensor.name} is the same for frames {one} and {other}: the engine does not look at them"]
    return []
