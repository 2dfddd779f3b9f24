"""What is brought home: report.json in edgec's own schema (edgec/records/report.py), and details.json with everything else."""

from __future__ import annotations

import os
import platform
import re
import textwrap
import time
from pathlib import Path
from typing import Any, Mapping, Sequence

from edgec_device import sensors, tasks
from edgec_device.activation import Choice
from edgec_device.bundle import BUNDLE, GATES, Variant
from edgec_device.evidence import TARGET
from edgec_device.files import read_json, remove, sha256_of, write_json, write_sealed
from edgec_device.output import WIDTH, megabytes, shorten
from edgec_device.seal import current_engine
from edgec_device.session import Engine, Session
from edgec_device.versions import dotted

SCHEMA_VERSION = 5
_MANIFEST = "manifest.json"
_UNDER = 9 * " "
_UNBROKEN = "\u00a0"
_HEAD = "{:<9}{:>10}{:>9}{:>9}{:>9}{:>8}{:>8}{:>8}  {}"


def write_report(session: Session, variants: Sequence[Variant], chosen: Choice | None, facts: Mapping[str, Any]) -> None:
    """Both files. Without a choice there is no report, only details: a report says which candidate was chosen."""
    places, created = session.places, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    problems = session.problems()
    engines = [session.engine(variant) for variant in variants]
    details = {
        "created": created,
        "build_key": session.bundle.build_key,
        "facts": dict(facts),
        "doubts": session.doubts(),
        "problems": problems,
        "engines": [
            {
                "name": engine.folder.name,
                "engine": engine.facts,
                "verify": engine.record("verify"),
                "bench": engine.record("bench"),
            }
            for engine in engines
        ],
    }
    if chosen is None:
        remove(places.report)
    else:
        write_sealed(places.report, _report(session, engines, chosen, problems, created, facts))
        details["report_sha256"] = sha256_of(places.report)
    write_json(places.details, details)
    path = None if chosen is None else str(places.report)
    text = f"report: {path}" if path else f"details: {places.details}"
    session.output.emit("report", text, path=path, details=str(places.details))


def table(session: Session, variants: Sequence[Variant]) -> str:
    """A line a variant, and more where there are heads; at most 80 columns."""
    problems, active = session.problems(), current_engine(session.places)
    lines = ["", _HEAD.format("variant", "engine", "p50 ms", "p90 ms", "p99 ms", "cls", "patches", "worst1%", "")]
    evidence = set()
    for variant in variants:
        engine = session.engine(variant)
        bench, verified = engine.record("bench"), engine.verified(session.bundle)
        figures = (verified or {}).get("figures")
        size = megabytes(engine.facts["size_bytes"]) if engine.built else "-"
        times = [f"{bench[name]:.3f}" if bench else "-" for name in ("p50_ms", "p90_ms", "p99_ms")]
        cosines = [f"{figures[name]:.4f}" if figures else "-" for name in GATES]
        word = "" if engine.built else "unbuilt"
        word = "active" if active == engine.folder.name else "FAILED" if variant.name in problems else word
        lines.append(_HEAD.format(shorten(variant.name, 8), size, *times, *cosines, word).rstrip())
        if verified and verified["tasks"]:
            said = ", ".join(tasks.told(task).replace(" ", _UNBROKEN) for task in verified["tasks"])
            wrapped = textwrap.wrap(said, WIDTH, initial_indent=_UNDER, subsequent_indent=_UNDER)
            lines += [line.replace(_UNBROKEN, " ") for line in wrapped]
        evidence |= {record["evidence"] for record in (bench, verified) if record}
    lines.append(
        f"{', '.join(sorted(evidence)) or 'not measured'}; TensorRT {dotted(session.trtexec.version)}, {session.board.title}"
    )
    return "\n".join(shorten(line, WIDTH) for line in lines)


def _report(
    session: Session,
    engines: Sequence[Engine],
    chosen: Choice,
    problems: Mapping[str, Any],
    created: str,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    bundle = session.bundle
    return {
        "schema_version": SCHEMA_VERSION,
        "edgec_version": bundle.edgec_version,
        "created": created,
        "artefact_sha256": _artefact_sha256(bundle.root),
        "model": dict(bundle.model),
        "target": bundle.target,
        "host_is_target": not session.options.here and not session.doubts(),
        "input_shape": list(bundle.input.shape),
        "precision_asked": bundle.precision_asked,
        "min_fidelity": min(bundle.gate.values()),
        "heads": [dict(head) for head in bundle.heads],
        "calibration": bundle.calibration,
        "validation_frames": bundle.golden_count,
        "stages": [],
        "candidates": [_candidate(session, engine, chosen, problems, first) for engine, first in zip(engines, _rounds(engines))],
        "chosen": chosen.engine.variant.name,
        "reason": chosen.reason,
        "notes": _notes(session, engines, facts),
        "host": _host(session),
    }


def _artefact_sha256(root: Path) -> str | None:
    """Of the manifest of the artefact that the bundle lies in, if it is there and vouches for this very bundle: a bundle's own
    release, and what `edgec deploy` sends, have none."""
    path = root / _MANIFEST
    listed = (read_json(path) or {}).get("files")
    if not isinstance(listed, list) or not (root / BUNDLE).is_file():
        return None
    vouched = [each.get("sha256") for each in listed if isinstance(each, dict) and each.get("path") == BUNDLE]
    return sha256_of(path) if vouched == [sha256_of(root / BUNDLE)] else None


def _rounds(engines: Sequence[Engine]) -> list[int]:
    """By engine, the number of its first round: engines that were not measured in turns with others share none with them."""
    benches = [engine.record("bench") or {} for engine in engines]
    apart = list(dict.fromkeys(bench.get("took_turns") for bench in benches))
    longest = max(len(bench.get("rounds", [])) for bench in benches)
    return [apart.index(bench.get("took_turns")) * longest for bench in benches]


def _candidate(session: Session, engine: Engine, chosen: Choice, problems: Mapping[str, Any], first: int) -> dict[str, Any]:
    name, typed = engine.variant.name, "strongly" if "--fp16" not in engine.flags and "--int8" not in engine.flags else "weakly"
    verified, bench = engine.verified(session.bundle), engine.record("bench")
    found: dict[str, Any] = {
        "name": name,
        "runtime": "tensorrt",
        "precision": engine.variant.precision,
        "execution_precision": f"{typed} typed, TensorRT {dotted(session.trtexec.version)}",
        "size_bytes": engine.facts.get("size_bytes"),
        "problem": problems.get(name, {}).get("what", ""),
        "chosen": name == chosen.engine.variant.name,
        "build_flags": engine.facts.get("flags", []),
    }
    if verified and (verified["figures"] or verified["tasks"]):
        found["fidelity"] = {
            "stage": name,
            **dict.fromkeys(GATES),
            **(verified["figures"] or {}),
            "frames": verified["frames"],
            "evidence": verified["evidence"],
            "tasks": verified["tasks"],
        }
    if bench:
        wanted = ("min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms", "mean_ms", "iterations", "warmup", "samples_ms", "evidence")
        found["latency"] = {
            **{key: bench[key] for key in wanted},
            "threads": 1,
            "blocks": _blocks(bench, first),
            **_conditions(bench),
        }
    return found


def _blocks(bench: Mapping[str, Any], first: int) -> list[dict[str, int]]:
    """Empty for records from before rounds were counted."""
    runs = [each.get("runs") for each in bench["rounds"]]
    return [] if None in runs else [{"round": first + number, "runs": count} for number, count in enumerate(runs)]


def _conditions(bench: Mapping[str, Any]) -> dict[str, Any]:
    """What the board was like while it measured, as the schema has it."""
    rounds = bench["rounds"]
    first, last = rounds[0]["before"]["temperatures_c"], rounds[-1]["after"]["temperatures_c"]
    power = {}
    for rail in sorted(set.intersection(*(set(each["power_mw"]) for each in rounds))):
        figures = [each["power_mw"][rail] for each in rounds]
        mean = sum(each["mean"] for each in figures) / len(figures)
        power[rail] = [round(mean, 1), max(each["max"] for each in figures)]
    return {
        "flags": bench["flags"],
        "power_mode": bench["power_mode"],
        "gpu_clock_fixed": rounds[0]["before"]["clocks"]["gpu_fixed"],
        "temperatures_c": {zone: [first[zone], last[zone]] for zone in sorted(set(first) & set(last))},
        "power_mw": power,
        "throttled": bench["throttled"],
    }


def _notes(session: Session, engines: Sequence[Engine], facts: Mapping[str, Any]) -> list[str]:
    """What a reader of the figures must know and the schema has no place for."""
    board, trtexec = session.board, session.trtexec
    notes = [f"Not {TARGET}: {doubt}." for doubt in session.doubts()]
    if session.options.here:
        notes.append(f"Not {TARGET}: these are engines for this machine's own GPU, {trtexec.gpu.name}.")
    else:
        jetpack = "JetPack {} (Jetson Linux {})".format(board.jetpack or "unknown", board.l4t or "unknown")
        notes.append(f"{board.title}, {jetpack}.")
    notes.append(
        f"TensorRT {dotted(trtexec.version)} on {trtexec.gpu.name}, compute capability {trtexec.gpu.compute_capability}."
    )
    mode = facts.get("power_mode")
    if mode:
        notes.append(f"Power mode {mode}.")
    for engine in engines:
        bench, name = engine.record("bench"), engine.variant.name
        if engine.built:
            notes.append("{} was built with trtexec {}.".format(name, " ".join(_without_layers(engine.facts["flags"]))))
        if not bench:
            continue
        notes.append("{} was measured with trtexec {}.".format(name, " ".join(bench["flags"])))
        notes += [f"{name}: {caveat}" for caveat in bench["caveats"]]
        first, last = bench["rounds"][0]["before"]["temperatures_c"], bench["rounds"][-1]["after"]["temperatures_c"]
        warmed = [f"{zone} {first[zone]:g} to {last[zone]:g} °C" for zone in sorted(set(first) & set(last))]
        if warmed:
            notes.append("{}: {}.".format(name, ", ".join(warmed)))
        power = bench["rounds"][-1]["power_mw"]
        if power:
            rails = [
                "{} {:.1f} W (at most {:.1f})".format(rail, power[rail]["mean"] / 1e3, power[rail]["max"] / 1e3)
                for rail in sorted(power)
            ]
            notes.append("{}: power while measuring: {}.".format(name, ", ".join(rails)))
    return notes


def _without_layers(flags: Sequence[str]) -> list[str]:
    """The list of float32 layers is long, and is in details.json."""
    return [flag if not flag.startswith("--layerPrecisions") else "--layerPrecisions=…" for flag in flags]


def _host(session: Session) -> dict[str, Any]:
    """As edgec.host.facts describes one."""
    board, system = session.board, session.system
    cores = os.cpu_count() or 1
    version = dotted(session.trtexec.version)
    versions = {"tensorrt": version, **{name: value for name, value in board.packages.items() if name != "tensorrt"}}
    return {
        "cpu": board.title,
        "architecture": board.architecture,
        "isa": [],
        "physical_cores": cores,
        "logical_cores": cores,
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory(system.text("/proc/meminfo") or ""),
        "governor": sensors.clocks(system)["governor"],
        "virtual_machine": None,
        "os": _os(system.text("/etc/os-release") or ""),
        "python": platform.python_version(),
        "jetpack": board.jetpack,
        "versions": versions,
    }


def _memory(meminfo: str) -> int:
    match = re.search(r"^MemTotal:\s+(\d{1,15})\b", meminfo, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _os(release: str) -> str:
    fields = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    return "{}, Linux {}".format(fields.get("PRETTY_NAME", "Linux").strip('"'), platform.release())
