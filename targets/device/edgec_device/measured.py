"""measurements.json, of which edgec on the workstation makes a report; and the table that people see on the board."""

from __future__ import annotations

import os
import platform
import textwrap
from pathlib import Path
from typing import Any, Mapping, Sequence

from edgec_onboard import measurements
from edgec_onboard.cgroup import available_cores
from edgec_onboard.emulation import emulated_on
from edgec_onboard.figures import kept, milliseconds, p99
from edgec_onboard.files import sha256_of
from edgec_onboard.judging import GATES, Verdict
from edgec_onboard.tasks import headline
from edgec_onboard.text import WIDTH, shorten

from edgec_device import sensors
from edgec_device.activation import Choice
from edgec_device.bundle import BUNDLE, Variant
from edgec_device.files import read_json, remove
from edgec_device.output import megabytes
from edgec_device.seal import current_engine
from edgec_device.session import Engine, Session
from edgec_device.verify import likeness_in_words

_MANIFEST = "manifest.json"
_UNDER = 9 * " "
_UNBROKEN = "\u00a0"
_NAME = 8
"""Longer names of variants have a line of their own."""
_HEAD = "{:<9}{:>10}{:>9}{:>9}{:>9}{:>8}{:>8}{:>8}  {}"


def write(session: Session, variants: Sequence[Variant], chosen: Choice | None, facts: Mapping[str, Any]) -> None:
    """Write measurements.json. Without a choice it says what failed for every variant."""
    bundle, layout, problems = session.bundle, session.layout, session.problems()
    engines = [session.engine(variant) for variant in variants]
    fields = {
        **measurements.artefact_fields(bundle),
        "artefact_sha256": _artefact_sha256(bundle.root),
        "host_is_target": session.is_target and not session.doubts() and emulated_on() is None,
        "input_shape": list(bundle.input.shape),
        "host": _host(session),
        "tool": session.tool.name,
        "doubts": _doubts(session),
        "remarks": _remarks(session, facts),
        "candidates": [_candidate(session, engine, problems, first) for engine, first in zip(engines, _rounds(engines))],
        "chosen": None if chosen is None else chosen.engine.variant.name,
        "reason": "" if chosen is None else chosen.reason,
        "details": {
            "build_key": bundle.build_key,
            "facts": dict(facts),
            "problems": problems,
            "engines": [_detailed(engine) for engine in engines],
        },
    }
    for path in layout.outdated:
        remove(path)
    measurements.write(layout.measurements, fields)
    text = f"measurements: {layout.measurements}"
    session.output.emit("measured", text, path=str(layout.measurements), chosen=fields["chosen"])


def table(session: Session, variants: Sequence[Variant]) -> str:
    """A line for each variant, and more if there are heads; at most 80 columns."""
    problems, active = session.problems(), current_engine(session.layout)
    lines = ["", _HEAD.format("variant", "engine", "p50 ms", "p90 ms", "p99 ms", "cls", "patches", "worst1%", "")]
    evidence = set()
    for variant in variants:
        engine = session.engine(variant)
        bench, verified = engine.record("bench"), engine.verified(session.bundle)
        figures = (verified or {}).get("figures")
        size = megabytes(engine.facts["size_bytes"]) if engine.built else "-"
        times = [milliseconds(bench[name]) if bench else "-" for name in ("p50_ms", "p90_ms")]
        times.append(p99(bench["p99_ms"], bench["iterations"]) if bench else "-")
        cosines = [kept(figures[name]) if figures else "-" for name in GATES]
        word = "" if engine.built else "unbuilt"
        word = "active" if active == engine.folder.name else "FAILED" if variant.name in problems else word
        short = len(variant.name) <= _NAME
        lines += [] if short else [variant.name]
        lines.append(_HEAD.format(variant.name if short else "", size, *times, *cosines, word).rstrip())
        if verified and verified["tasks"]:
            heads = ", ".join(headline(task).replace(" ", _UNBROKEN) for task in verified["tasks"])
            wrapped = textwrap.wrap(heads, WIDTH, initial_indent=_UNDER, subsequent_indent=_UNDER)
            lines += [line.replace(_UNBROKEN, " ") for line in wrapped]
        evidence |= {record["evidence"] for record in (bench, verified) if record}
    lines.append(f"{', '.join(sorted(evidence)) or 'not measured'}; {session.tool.title}, {session.board.title}")
    return "\n".join(shorten(line, WIDTH) for line in lines)


def _artefact_sha256(root: Path) -> str | None:
    """The SHA-256 of the artefact's manifest, if it exists and lists this very bundle. An installed release, and what
    `edgec deploy` sends, have no manifest."""
    path = root / _MANIFEST
    listed = (read_json(path) or {}).get("files")
    if not isinstance(listed, list) or not (root / BUNDLE).is_file():
        return None
    hashes = [file.get("sha256") for file in listed if isinstance(file, dict) and file.get("path") == BUNDLE]
    return sha256_of(path) if hashes == [sha256_of(root / BUNDLE)] else None


def _rounds(engines: Sequence[Engine]) -> list[int]:
    """The number of each engine's first round. Engines that did not take turns with each other share no rounds."""
    benches = [engine.record("bench") or {} for engine in engines]
    apart = list(dict.fromkeys(bench.get("took_turns") for bench in benches))
    longest = max(len(bench.get("rounds", [])) for bench in benches)
    return [apart.index(bench.get("took_turns")) * longest for bench in benches]


def _candidate(session: Session, engine: Engine, problems: Mapping[str, Any], first: int) -> dict[str, Any]:
    name, (runtime, computes_in) = engine.variant.name, session.tool.describe(engine.variant, engine.flags)
    verified, bench = engine.verified(session.bundle), engine.record("bench")
    candidate: dict[str, Any] = {
        "name": name,
        "runtime": runtime,
        "precision": engine.variant.precision,
        "execution_precision": computes_in,
        "size_bytes": engine.facts.get("size_bytes"),
        "problem": problems.get(name, {}).get("what", ""),
        "build_flags": engine.facts.get("flags", []),
        "remarks": [],
    }
    if verified:
        observed, likeness = verified.get("observed") or {}, verified.get("recorded") or {}
        if observed.get("placement"):
            candidate["placement"] = {**observed["placement"], "evidence": verified["evidence"]}
        candidate["remarks"] += [*observed.get("remarks", []), *likeness_in_words(likeness)]
    if verified and (verified["figures"] or verified["tasks"]):
        verdict = Verdict(verified["problems"], verified["figures"], verified["tasks"], verified["frames"])
        candidate["fidelity"] = measurements.fidelity(name, verdict, verified["evidence"])
    if bench:
        keys = ("samples_ms", "warmup", "evidence", "flags", "power_mode", "throttled")
        threads = bench.get("threads", 1)  # older records have none: a GPU's
        candidate["timings"] = {
            **{key: bench[key] for key in keys},
            "threads": threads,
            "other_cores": bench.get("other_cores"),
            "blocks": _blocks(bench, first),
            **_conditions(bench),
        }
        candidate["remarks"] += bench["caveats"]
        if bench.get("cpu_ms_per_frame") is not None:
            candidate["cpu_ms_per_frame"] = bench["cpu_ms_per_frame"]
        if bench.get("cold_start"):
            candidate["cold_start"] = {**bench["cold_start"], "evidence": bench["evidence"]}
    return candidate


def _detailed(engine: Engine) -> dict[str, Any]:
    """Its records, without the samples, which the candidate has."""
    bench = engine.record("bench")
    return {
        "name": engine.folder.name,
        "engine": engine.facts,
        "verify": engine.record("verify"),
        "bench": bench and {key: value for key, value in bench.items() if key != "samples_ms"},
    }


def _blocks(bench: Mapping[str, Any], first: int) -> list[dict[str, int]]:
    """Rounds and their runs; empty for records from before rounds were counted."""
    runs = [each.get("runs") for each in bench["rounds"]]
    return [] if None in runs else [{"round": first + number, "runs": count} for number, count in enumerate(runs)]


def _conditions(bench: Mapping[str, Any]) -> dict[str, Any]:
    """The board's clocks, temperatures and power while it measured. Older records have no CPU clocks."""
    rounds = bench["rounds"]
    first, last = rounds[0]["before"]["temperatures_c"], rounds[-1]["after"]["temperatures_c"]
    power = {}
    for rail in sorted(set.intersection(*(set(each["power_mw"]) for each in rounds))):
        figures = [each["power_mw"][rail] for each in rounds]
        power[rail] = [round(sum(each["mean"] for each in figures) / len(figures), 1), max(each["max"] for each in figures)]
    before, after = rounds[0]["before"]["clocks"], rounds[-1]["after"]["clocks"]
    mean = [each["cpu_mhz"] for each in rounds if each.get("cpu_mhz")]
    mhz = {
        "before": before.get("cpu_cur_mhz"),
        "meanwhile": round(sum(mean) / len(mean), 1) if mean else None,
        "after": after.get("cpu_cur_mhz"),
        "most": before.get("cpu_max_mhz"),
    }
    return {
        "cpu_mhz": {name: value for name, value in mhz.items() if value},
        "gpu_clock_fixed": rounds[0]["before"]["clocks"]["gpu_fixed"],
        "temperatures_c": {zone: [first[zone], last[zone]] for zone in sorted(set(first) & set(last))},
        "power_mw": power,
    }


def _doubts(session: Session) -> list[str]:
    here = [f"these are engines for this machine itself, {session.tool.processor}"] if session.options.here else []
    foreign = [f"this is {session.board.title}; {session.foreign}"] if session.foreign and not session.doubts() else []
    return session.doubts() + here + foreign


def _remarks(session: Session, facts: Mapping[str, Any]) -> list[str]:
    tool, mode = session.tool, facts.get("power_mode")
    capability = tool.facts.get("compute_capability")
    gpu = f"{tool.title} on {tool.processor}{f', compute capability {capability}' if capability else ''}."
    name = [] if session.options.here else [session.family.describe(session.board)]
    refused = {variant.name: tool.refuses(variant, session.profile) for variant in session.bundle.variants}
    left_out = [f"{variant} is left out: it needs {what}." for variant, what in refused.items() if what]
    return name + [gpu] + ([f"Power mode {mode}."] if mode else []) + left_out + session.family.remarks(session)


def _host(session: Session) -> dict[str, Any]:
    """The board, as edgec.host.facts describes a machine."""
    board, system = session.board, session.system
    cores = os.cpu_count() or 1
    versions = {**board.packages, **session.tool.versions}
    return {
        "cpu": board.title,
        "architecture": board.architecture,
        "isa": list(board.isa),
        "physical_cores": cores,
        "logical_cores": cores,
        "usable_cores": available_cores(),
        "memory_bytes": sensors.memory_bytes(system, "MemTotal") or 0,
        "governor": sensors.clocks(system)["governor"],
        "emulated_on": emulated_on(),
        "virtual_machine": None,
        "os": _os(system.text("/etc/os-release") or ""),
        "python": platform.python_version(),
        "jetpack": board.jetpack,
        "versions": versions,
        **board.host,
    }


def _os(release: str) -> str:
    fields = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    return "{}, Linux {}".format(fields.get("PRETTY_NAME", "Linux").strip('"'), platform.release())
