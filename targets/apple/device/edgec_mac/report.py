"""report.json in edgec's own schema, version 5 (edgec/records/report.py): a candidate a compute unit; and the table of it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec_mac.artefact import GATES, Artefact
from edgec_mac.machine import HOST, TARGET, Mac, Profile
from edgec_mac.measuring import Result
from edgec_mac.placement import HOPED_FOR
from edgec_mac.statistics import summary
from edgec_mac.tasks import told
from edgec_mac.text import printable, shorten

SCHEMA_VERSION = 5
REPORT = "report.json"
_ROW = "{:<19}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}  {}"
_NOTE = (
    "A run is a call of coremltools' `predict`: it hands over Pillow images and copies features out, which an app that hands "
    "over its camera's pixel buffers does not pay. Compute units ran in processes of their own, in interleaved blocks of at "
    "most ten runs, in random order; each block began with a tenth of a second of unrecorded runs. Percentiles are "
    "nearest-rank; nothing is clipped. Core ML has threads of its own, which `threads` does not count."
)


@dataclass(frozen=True)
class Facts:
    """What a report says beside the results. `doubts` are reasons why nothing in it is a fact about a Mac."""

    artefact: Artefact
    mac: Mac
    profile: Profile | None
    evidence: str
    doubts: tuple[str, ...]
    versions: Mapping[str, str]
    compile_ms: float
    load: float


def choose(results: Sequence[Result]) -> Result | None:
    """The fastest that reproduces the features; None if none does and was measured."""
    return min((result for result in results if result.reproduces and result.measured), key=_p50, default=None)


def make_report(facts: Facts, results: Sequence[Result], chosen: Result) -> dict[str, Any]:
    artefact = facts.artefact
    others = [f"{result.unit.name} {_p50(result):.2f} ms" for result in results if result is not chosen and _usable(result)]
    wrong = [result.unit.name for result in results if result.parity and result.parity.problems]
    reason = f"{chosen.unit.name} is the fastest that reproduces the golden features: p50 {_p50(chosen):.2f} ms"
    reason += f"; {', '.join(others)}" * bool(others) + f"; wrong outputs on {', '.join(wrong)}" * bool(wrong)
    return {
        "schema_version": SCHEMA_VERSION,
        "edgec_version": artefact.edgec_version,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "artefact_sha256": artefact.sha256,
        "model": dict(artefact.model),
        "target": artefact.target,
        "host_is_target": facts.evidence == TARGET,
        "input_shape": list(artefact.input_shape),
        "precision_asked": artefact.precision_asked,
        "min_fidelity": min(artefact.gate.values()),
        "heads": [dict(head) for head in artefact.heads],
        "calibration": artefact.calibration,
        "validation_frames": artefact.golden_count,
        "stages": [],
        "candidates": [_candidate(facts, result, result is chosen) for result in results],
        "chosen": name_of(artefact, chosen),
        "reason": reason + ".",
        "notes": _notes(facts, results),
        "host": _host(facts),
    }


def name_of(artefact: Artefact, result: Result) -> str:
    return f"{artefact.runtime}-{artefact.precision} on {result.unit.name}"


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Whole or not at all: written beside, flushed, renamed. Sealed as edgec's own reports are (edgec/seal.py)."""
    text = json.dumps(report, indent=1, allow_nan=False)
    head = text[: -len("\n}")] + ',\n "seal": "'
    descriptor, name = tempfile.mkstemp(prefix=".edgec-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f'{head}{hashlib.sha256(head.encode("utf-8")).hexdigest()}"\n}}\n')
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).rename(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def table(facts: Facts, results: Sequence[Result], chosen: Result | None) -> str:
    """A line a compute unit, and one more where there are heads; at most 80 columns."""
    lines = [_ROW.format("compute units", "p50 ms", "p99 ms", "load ms", "cls", "worst1%", "placed", "").rstrip()]
    for result in results:
        times = summary(result.samples) if result.measured else {}
        figures = result.parity.figures if result.parity else None
        load = result.facts.get("load_ms", result.first_load_ms)
        word = "chosen" if result is chosen else "FAILED" if result.problem else ""
        lines.append(
            _ROW.format(
                result.unit.name,
                *(f"{times[name]:.2f}" if times else "-" for name in ("p50_ms", "p99_ms")),
                "-" if load is None else f"{load:.0f}",
                *(f"{figures[name]:.4f}" if figures else "-" for name in (GATES[0], GATES[2])),
                _placed(result),
                word,
            ).rstrip()
        )
        if result.parity and result.parity.tasks:
            lines.append(f"  {', '.join(map(told, result.parity.tasks))}")
    where = "placed: operations on the device hoped for, of all that have one"
    return "\n".join(shorten(line) for line in [*lines, f"{facts.evidence}; {facts.mac.brand}, {facts.mac.system}", where])


def _placed(result: Result) -> str:
    if result.placement is None:
        return "-"
    counts = result.placement["by_device"]
    return f"{counts.get(HOPED_FOR[result.unit.spelt], 0)}/{sum(counts.values())}"


def _candidate(facts: Facts, result: Result, chosen: bool) -> dict[str, Any]:
    artefact, evidence = facts.artefact, facts.evidence
    found: dict[str, Any] = {
        "name": name_of(artefact, result),
        "runtime": artefact.runtime,
        "precision": artefact.precision,
        "execution_precision": f"{artefact.precision}; {result.unit.name}",
        "size_bytes": artefact.size_bytes,
        "problem": result.problem,
        "chosen": chosen,
    }
    if result.parity and result.parity.compared:
        found["fidelity"] = {
            "stage": name_of(artefact, result),
            **dict.fromkeys(GATES),
            **(result.parity.figures or {}),
            "frames": artefact.golden_count,
            "evidence": evidence,
            "tasks": list(result.parity.tasks),
        }
    if result.placement:
        source = f"MLComputePlan, coremltools {facts.versions.get('coremltools', 'of an unknown version')}"
        found["placement"] = {"source": source, "asked": result.unit.name, **result.placement, "evidence": evidence}
    if result.measured:
        frames = len(result.samples) * artefact.input_shape[0]
        found["cpu_ms_per_frame"] = round(result.cpu_ms / frames, 4)
        found["latency"] = {
            **summary(result.samples),
            "iterations": len(result.samples),
            "warmup": len(result.warmup),
            "threads": 1,
            "samples_ms": result.samples,
            "blocks": [{"round": number, "runs": runs} for number, runs in result.blocks],
            "evidence": evidence,
            "power_mode": facts.mac.power,
        }
        times = {name: round(result.facts[name], 3) for name in ("load_ms", "first_inference_ms", "import_ms")}
        memory = result.facts["peak_rss_bytes"]
        found["cold_start"] = {
            **times,
            "process_ms": round(result.process_ms, 3),
            "peak_rss_bytes": memory,
            "evidence": evidence,
        }
    return found


def _notes(facts: Facts, results: Sequence[Result]) -> list[str]:
    """What a reader of the figures must know and the schema has no place for."""
    mac = facts.mac
    notes = [f"Not {TARGET}: {doubt}." for doubt in facts.doubts]
    if facts.evidence == HOST:
        why = "it is a virtual machine, which has no Neural Engine" if mac.virtual else "it is not among the target's chips"
        notes.append(f"Not {TARGET}: this is {mac.brand}; {why}.")
    notes.append(f"{mac.brand}, {mac.system}" + (f", {mac.power}." if mac.power else "."))
    notes.append(_NOTE)
    notes.append(f"Core ML compiled the package in {facts.compile_ms:.0f} ms; Xcode does that when an app is built.")
    if facts.artefact.function:
        notes.append(f"Of the package's functions, {printable(facts.artefact.function)} was measured.")
    if facts.load > 1 + 0.25 * mac.logical_cores:
        notes.append(f"Other work is running: the load average was {facts.load:.1f} on {mac.logical_cores} cores.")
    for result in results:
        name = result.unit.name
        if result.first_load_ms is not None:
            notes.append(f"{name}: the first load, which readies the package for the chip, took {result.first_load_ms:.0f} ms.")
        if result.parity and result.parity.to_shipped is not None:
            notes.append(f"{name}: worst cosine to what edgec's evaluator computed: {result.parity.to_shipped:.6f}.")
        if result.parity and result.parity.labels_as_shipped is not None:
            share = result.parity.labels_as_shipped
            notes.append(f"{name}: labels that edgec's evaluator gives, too, in the worst golden frame: {share:.4%}.")
        if result.placement_problem:
            notes.append(f"{name}: where operations run is not known: {result.placement_problem}.")
    return notes


def _host(facts: Facts) -> dict[str, Any]:
    """As edgec.host.facts describes one."""
    mac = facts.mac
    cores = max(1, mac.logical_cores)
    return {
        "cpu": mac.brand,
        "architecture": "aarch64",
        "isa": [],
        "physical_cores": max(1, mac.physical_cores),
        "logical_cores": cores,
        "usable_cores": cores,
        "memory_bytes": mac.memory_bytes,
        "governor": None,
        "virtual_machine": mac.virtual,
        "os": mac.system,
        "python": platform.python_version(),
        "versions": {"edgec": facts.artefact.edgec_version, **facts.versions},
    }


def _usable(result: Result) -> bool:
    return result.reproduces and result.measured


def _p50(result: Result) -> float:
    return summary(result.samples)["p50_ms"]
