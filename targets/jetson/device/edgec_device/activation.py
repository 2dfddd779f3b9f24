"""activate, rollback, status: which engine the robot loads.

`current` is a link that is replaced in one step. What it has pointed to is in history.json, written *before* the link: the past
of the current engine is what stands before its last mention there, so that a crash between the two loses nothing.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from edgec_device.bundle import Variant
from edgec_device.errors import DeviceError, NothingToDo
from edgec_device.files import point, read_json, sha256_of, write_json
from edgec_device.output import megabytes
from edgec_device.session import PLAN, Engine, Places, Session
from edgec_device.verify import damaged
from edgec_device.versions import dotted

_ENTRY = {"engine", "variant", "time", "reason"}
_KEPT = 50
"""Entries of the history."""


@dataclass(frozen=True)
class Choice:
    engine: Engine
    reason: str


def choose(session: Session, variants: Sequence[Variant]) -> Choice:
    """The fastest of those that are verified; the earlier in the bundle's order if two are equally fast.

    Raises `NothingToDo` if none is verified, or if one of those has not been measured: INT8 must pay on this very board.
    """
    engines = [session.engine(variant) for variant in variants]
    passed = [engine for engine in engines if (engine.verified(session.bundle) or {"passed": False})["passed"]]
    if not passed:
        raise NothingToDo(
            "There is no verified engine to activate.",
            evidence=problems(session),
            remedy="run `build` and `verify`, or `run-all`",
        )
    speeds = {engine.variant.name: engine.record("bench") for engine in passed}
    measured = [engine for engine in passed if speeds[engine.variant.name]]
    unmeasured = [engine.variant.name for engine in passed if not speeds[engine.variant.name]]
    excused = {name for name, problem in session.problems().items() if problem["step"] == "bench"}
    if not measured or set(unmeasured) - excused:
        raise NothingToDo(
            "Not every verified engine has been measured, so the fastest is not known.",
            evidence=["not measured: " + ", ".join(unmeasured)],
            remedy="run `bench`, or activate one of your choice with --variant",
        )

    def p50(engine: Engine) -> float:
        return float((speeds[engine.variant.name] or {})["p50_ms"])

    best = min(measured, key=p50)
    others = [f"{engine.variant.name} {p50(engine):.3f} ms" for engine in measured if engine is not best]
    reason = f"{best.variant.name} is the fastest that reproduces the features: p50 {p50(best):.3f} ms"
    return Choice(best, reason + ("; " + ", ".join(others) if others else "") + ".")


def activate(session: Session, choice: Choice) -> None:
    """Point `current` at the engine, having looked at it once more."""
    places, engine = session.places, choice.engine
    session.output.step("activate", engine.folder.name)
    if not engine.whole:
        raise damaged(engine)
    if current_engine(places) == engine.folder.name:
        session.output.emit(
            "done",
            "  nothing to do: it is active",
            step="activate",
            variant=engine.variant.name,
            result="unchanged",
            path=str(places.current / PLAN),
        )
        return
    past, entry = _past(places), _entry(session, choice)
    write_json(places.history, {"activations": [*past, entry][-_KEPT:]})
    point(places.current, f"{places.engines.name}/{engine.folder.name}")
    session.output.emit(
        "done",
        f"  {choice.reason}\n  load {places.current / PLAN}",
        step="activate",
        variant=engine.variant.name,
        result="activated",
        path=str(places.current / PLAN),
        reason=choice.reason,
    )


def rollback(places: Places, session: Session) -> str:
    """Point `current` at the engine before it. Raises `NothingToDo` if there is none, or it cannot run here."""
    output = session.output
    output.step("rollback", places.home.name)
    past = _past(places)
    if len(past) < 2:
        raise NothingToDo(
            "There is nothing to roll back to.", evidence=["{} is the first".format(current_engine(places) or "nothing")]
        )
    entry = past[-2]
    folder = places.engines / entry["engine"]
    problem = _unfit(folder, session)
    if problem:
        raise NothingToDo(
            "The engine before this one cannot be used any more.",
            evidence=["{}: {}".format(entry["engine"], problem)],
            remedy="run `run-all` with its bundle: that builds and verifies it anew",
        )
    point(places.current, f"{places.engines.name}/{entry['engine']}")
    text = "  back at {}: {}".format(entry["engine"], entry["reason"])
    output.emit("done", text, step="rollback", variant=entry["variant"], result="activated", path=str(places.current / PLAN))
    return str(entry["engine"])


def current_engine(places: Places) -> str | None:
    """The name of the engine's folder that `current` points to; None if it points to nothing."""
    try:
        name = Path(os.readlink(str(places.current))).name
    except OSError:
        return None
    return name if (places.engines / name / PLAN).is_file() else None


def problems(session: Session) -> list[str]:
    found = []
    for name, problem in sorted(session.problems().items()):
        found += ["{}, {}: {}".format(name, problem["step"], line.strip()) for line in problem["what"].splitlines()[:4]]
    return found


def status(session: Session) -> None:
    """What is active and why, what was before, and what became of each variant. Needs neither trtexec nor the lock."""
    places, output = session.places, session.output
    past = _past(places)
    current = current_engine(places)
    entry = past[-1] if past else None
    used = {each["engine"] for each in past[-2:]}
    engines = sorted(path for path in places.engines.glob("*") if (path / PLAN).is_file())
    unused = [{"path": str(path), "size_bytes": (path / PLAN).stat().st_size} for path in engines if path.name not in used]
    rows = [_row(session, path, path.name == current) for path in engines]
    lines = ["current   {}".format(places.current / PLAN if current else "none: nothing was activated yet")]
    if current and entry:
        lines += [f"          {current}", "          since {}: {}".format(entry["time"], entry["reason"])]
    if len(past) > 1:
        lines.append("before    {}".format(past[-2]["engine"]))
    lines += ["", "engine".ljust(26) + "verified    p50 ms  evidence"] if rows else []
    for row in rows:
        verdict = {True: "yes", False: "FAILED", None: "no"}[row["passed"]]
        p50 = "-" if row["p50_ms"] is None else "{:.3f}".format(row["p50_ms"])
        name = ("* " if row["current"] else "  ") + row["engine"]
        lines.append("{:<26}{:<10}{:>8}  {}".format(name, verdict, p50, row["evidence"] or ""))
    for text in problems(session):
        lines.append("problem   " + text)
    for each in unused:
        lines.append("unused    {} ({})".format(each["path"], megabytes(float(str(each["size_bytes"])))))
    output.emit(
        "status",
        "\n".join(lines),
        current=entry if current else None,
        previous=past[-2] if len(past) > 1 else None,
        engines=rows,
        problems=session.problems(),
        unused=unused,
        path=str(places.current / PLAN) if current else None,
    )


def _row(session: Session, folder: Path, current: bool) -> dict[str, Any]:
    facts, verified, bench = (read_json(folder / (name + ".json")) or {} for name in ("engine", "verify", "bench"))
    return {
        "engine": folder.name,
        "variant": facts.get("variant"),
        "build_key": facts.get("build_key"),
        "tensorrt": facts.get("tensorrt"),
        "current": current,
        "passed": verified.get("passed"),
        "problems": verified.get("problems", []),
        "figures": verified.get("figures"),
        "tasks": verified.get("tasks", []),
        "p50_ms": bench.get("p50_ms"),
        "evidence": bench.get("evidence"),
    }


def _past(places: Places) -> list[dict[str, Any]]:
    """The activations up to the current one; what stands behind it was begun and not done, or rolled back."""
    kept = (read_json(places.history) or {}).get("activations")
    entries = [each for each in kept if isinstance(each, dict) and set(each) >= _ENTRY] if isinstance(kept, list) else []
    current = current_engine(places)
    while entries and entries[-1]["engine"] != current:
        entries = entries[:-1]
    return entries


def _entry(session: Session, choice: Choice) -> dict[str, Any]:
    facts = choice.engine.facts
    return {
        "engine": choice.engine.folder.name,
        "variant": choice.engine.variant.name,
        "sha256": facts["sha256"],
        "tensorrt": facts["tensorrt"],
        "build_key": session.bundle.build_key,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "reason": choice.reason,
    }


def _unfit(folder: Path, session: Session) -> str:
    """Why the robot should not load this engine, in a few words; empty if it may."""
    facts, verified = read_json(folder / "engine.json"), read_json(folder / "verify.json")
    if facts is None or not (folder / PLAN).is_file():
        return "it is gone"
    if sha256_of(folder / PLAN) != facts.get("sha256"):
        return "its file is not what was built"
    if verified is None or not verified.get("passed") or verified.get("engine_sha256") != facts["sha256"]:
        return "it is not verified"
    try:
        session.identify()
    except DeviceError:
        return ""  # a rollback is for emergencies: without trtexec the version cannot be compared, and that is no reason to stay
    version, gpu = dotted(session.trtexec.version), session.trtexec.gpu
    if facts["tensorrt"] != version or facts["compute_capability"] != gpu.compute_capability:
        return "it is for TensorRT {}; this is {}".format(facts["tensorrt"], version)
    return ""
