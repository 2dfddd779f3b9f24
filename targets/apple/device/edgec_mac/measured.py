"""The measurements, one candidate for each compute unit, of which edgec makes a report; and the table that people see here."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgec_onboard.judging import GATES
from edgec_onboard.measurements import HOST, TARGET, artefact_fields, fastest, fidelity
from edgec_onboard.statistics import summary
from edgec_onboard.tasks import headline
from edgec_onboard.text import WIDTH, shorten
from edgec_onboard.untrusted import printable

from edgec_mac.artefact import Artefact
from edgec_mac.machine import Mac, Profile
from edgec_mac.measuring import Result
from edgec_mac.placement import INTENDED

_ROW = "{:<19}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}  {}"
_NOTE = (
    "A run is a call of coremltools' `predict`: it hands over Pillow images and copies features out, which an app that hands "
    "over its camera's pixel buffers does not pay. Compute units ran in processes of their own, in interleaved blocks of at "
    "most ten runs, in random order; each block began with a tenth of a second of unrecorded runs. Percentiles are "
    "nearest-rank; nothing is clipped. Core ML has threads of its own, which `threads` does not count."
)


@dataclass(frozen=True)
class Facts:
    """What a report needs besides the results. `doubts` are reasons why its figures are not facts about a Mac."""

    artefact: Artefact
    mac: Mac
    profile: Profile | None
    evidence: str
    doubts: tuple[str, ...]
    versions: Mapping[str, str]
    compile_ms: float
    load: float


def choose(results: Sequence[Result]) -> tuple[Result, str] | None:
    """The fastest that reproduces the features, and why; None if none does and was measured."""
    sound = {result.unit.name: result for result in results if result.reproduces and result.measured}
    choice = fastest({name: summary(result.samples).p50_ms for name, result in sound.items()})
    if choice is None:
        return None
    best, reason = choice
    wrong = [result.unit.name for result in results if result.parity and result.parity.verdict.problems]
    return sound[best], reason + f"; wrong outputs on {', '.join(wrong)}" * bool(wrong) + "."


def as_fields(facts: Facts, results: Sequence[Result], chosen: Result, reason: str) -> dict[str, Any]:
    """The fields of measurements.json."""
    artefact = facts.artefact
    return {
        **artefact_fields(artefact),
        "artefact_sha256": artefact.sha256,
        "host_is_target": facts.evidence == TARGET,
        "input_shape": list(artefact.input_shape),
        "host": _host(facts),
        "doubts": _doubts(facts),
        "remarks": _remarks(facts),
        "candidates": [_candidate(facts, result) for result in results],
        "chosen": name_of(artefact, chosen),
        "reason": reason,
    }


def name_of(artefact: Artefact, result: Result) -> str:
    """The candidate's name for a compute unit."""
    return f"{artefact.runtime}-{artefact.precision} on {result.unit.name}"


def table(facts: Facts, results: Sequence[Result], chosen: Result | None) -> str:
    """A line for each compute unit, and one more if there are heads; at most 80 columns."""
    lines = [_ROW.format("compute units", "p50 ms", "p99 ms", "load ms", "cls", "worst1%", "placed", "").rstrip()]
    for result in results:
        times = vars(summary(result.samples)) if result.measured else {}
        verdict = result.parity.verdict if result.parity else None
        figures = verdict.figures if verdict else None
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
        if verdict and verdict.tasks:
            lines.append(f"  {', '.join(map(headline, verdict.tasks))}")
    where = "placed: operations on the intended device, of all that have one"
    return "\n".join(shorten(line, WIDTH) for line in [*lines, f"{facts.evidence}; {facts.mac.brand}, {facts.mac.system}", where])


def _placed(result: Result) -> str:
    if result.placement is None:
        return "-"
    counts = result.placement["by_device"]
    return f"{counts.get(INTENDED[result.unit.spelt], 0)}/{sum(counts.values())}"


def _candidate(facts: Facts, result: Result) -> dict[str, Any]:
    artefact, evidence, name = facts.artefact, facts.evidence, name_of(facts.artefact, result)
    candidate: dict[str, Any] = {
        "name": name,
        "runtime": artefact.runtime,
        "precision": artefact.precision,
        "execution_precision": f"{artefact.precision}; {result.unit.name}",
        "size_bytes": artefact.size_bytes,
        "problem": result.problem,
        "remarks": _remarks_on(result),
    }
    if result.parity and result.parity.compared:
        candidate["fidelity"] = fidelity(name, result.parity.verdict, evidence)
    if result.placement:
        source = f"MLComputePlan, coremltools {facts.versions.get('coremltools', 'of an unknown version')}"
        candidate["placement"] = {"source": source, "asked": result.unit.name, **result.placement, "evidence": evidence}
    if result.measured:
        candidate["cpu_ms_per_frame"] = round(result.cpu_ms / (len(result.samples) * artefact.input_shape[0]), 4)
        candidate["timings"] = {
            "samples_ms": result.samples,
            "blocks": [{"round": number, "runs": runs} for number, runs in result.blocks],
            "warmup": len(result.warmup),
            "evidence": evidence,
            "power_mode": facts.mac.power,
        }
        candidate["cold_start"] = {
            **{name: round(result.facts[name], 3) for name in ("load_ms", "first_inference_ms", "import_ms")},
            "process_ms": round(result.process_ms, 3),
            "peak_rss_bytes": result.facts["peak_rss_bytes"],
            "evidence": evidence,
        }
    return candidate


def _doubts(facts: Facts) -> list[str]:
    if facts.evidence != HOST:
        return list(facts.doubts)
    why = "it is a virtual machine, which has no Neural Engine" if facts.mac.virtual else "it is not among the target's chips"
    return [f"this is {facts.mac.brand}; {why}"]


def _remarks(facts: Facts) -> list[str]:
    """What a reader of the figures must know, and no field holds."""
    mac = facts.mac
    remarks = [
        f"{mac.brand}, {mac.system}" + (f", {mac.power}." if mac.power else "."),
        _NOTE,
        f"Core ML compiled the package in {facts.compile_ms:.0f} ms; Xcode does that when an app is built.",
    ]
    if facts.artefact.function:
        remarks.append(f"Of the package's functions, {printable(facts.artefact.function)} was measured.")
    if facts.load > 1 + 0.25 * mac.logical_cores:
        remarks.append(f"Other work is running: the load average was {facts.load:.1f} on {mac.logical_cores} cores.")
    return remarks


def _remarks_on(result: Result) -> list[str]:
    remarks = []
    if result.first_load_ms is not None:
        remarks.append(f"the first load, which prepares the package for the chip, took {result.first_load_ms:.0f} ms.")
    if result.parity and result.parity.to_shipped is not None:
        remarks.append(f"worst cosine with what edgec's evaluator computed: {result.parity.to_shipped:.6f}.")
    if result.parity and result.parity.labels_as_shipped is not None:
        share = result.parity.labels_as_shipped
        remarks.append(f"share of labels that agree with edgec's evaluator in the worst golden frame: {share:.4%}.")
    if result.placement_problem:
        remarks.append(f"where operations run is not known: {result.placement_problem}.")
    return remarks


def _host(facts: Facts) -> dict[str, Any]:
    """The Mac, as edgec.host.facts describes a machine."""
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
