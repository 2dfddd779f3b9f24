"""activate, rollback, status: which engine the robot loads.

`current` is a link that is replaced in one step. What it has pointed to is in history.json, written *before* the link: the past
of the current engine is what stands before its last mention there, so that a crash between the two loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from edgec_onboard.errors import BoardError
from edgec_onboard.files import sha256_of
from edgec_onboard.measurements import fastest, now
from edgec_onboard.seal import is_whole
from edgec_onboard.text import shorten
from edgec_onboard.untrusted import Refused, read_bytes

from edgec_device.bundle import Variant
from edgec_device.errors import NothingToDo
from edgec_device.files import STATE_BYTES, point, remove, write_record
from edgec_device.output import megabytes
from edgec_device.seal import (
    CHANGED,
    REMEDY,
    VERIFIED,
    Standing,
    current_engine,
    entries,
    require_whole,
    seal,
    standing,
    standing_of,
)
from edgec_device.session import PLAN, Engine, Places, Session, read_sound
from edgec_device.versions import dotted

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

    found = fastest({engine.variant.name: float((speeds[engine.variant.name] or {})["p50_ms"]) for engine in measured})
    assert found is not None, "one at least is measured"
    best, reason = found
    return Choice(next(engine for engine in measured if engine.variant.name == best), reason + ".")


def activate(session: Session, choice: Choice) -> None:
    """Point `current` at the engine, having looked at it once more. Raises `EngineChanged`."""
    places, engine = session.places, choice.engine
    session.output.step("activate", engine.folder.name)
    require_whole(engine)
    past, entry, before = _past(places), _entry(session, choice), standing(places)
    active = current_engine(places) == engine.folder.name
    if before is not None and before.state == CHANGED:
        _note(session, "what was active until now has changed since it was verified", before)
    if active and before is not None and before.state == VERIFIED and past[-1]["sha256"] == entry["sha256"]:
        if past[-1].get("sealed") != entry["sealed"]:  # verified anew, by another bundle
            write_record(places.history, {"activations": [*past[:-1], {**past[-1], "sealed": entry["sealed"]}]})
        session.output.emit(
            "done",
            "  nothing to do: it is active",
            step="activate",
            variant=engine.variant.name,
            result="unchanged",
            path=str(places.current / PLAN),
        )
        return
    if past and past[-1]["engine"] == entry["engine"]:
        past = past[:-1]  # it was built anew in its place: there is no way back to what it was
    write_record(places.history, {"activations": [*past, entry][-_KEPT:]})
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


def distrust(session: Session) -> None:
    """Have built and verified anew what is active, if that is not what was verified: its verdict and figures are forgotten, and
    the engine too where its file is another one."""
    places = session.places
    found, name = standing(places), current_engine(places)
    if found is None or found.state != CHANGED:
        return
    _note(session, "the active engine has changed since it was verified; it is judged anew", found)
    folder = places.engines / name if name else None
    if folder is None or folder.is_symlink():
        return
    for record in ("verify", "bench"):
        remove(folder / (record + ".json"))
    entry = next((each for each in reversed(entries(places)) if each["engine"] == name), None)
    facts = read_sound(folder, "engine")
    if entry is None or facts is None or not facts["sha256"] == entry.get("sha256") == sha256_of(folder / PLAN):
        remove(folder / "engine.json")


def rollback(places: Places, session: Session) -> str:
    """Point `current` at the engine before it. Raises `NothingToDo` if there is none, or it cannot run here.

    What is active need not be sound for that: it is what one goes back from.
    """
    output = session.output
    output.step("rollback", places.home.name)
    found = standing(places)
    if found is not None and found.state == CHANGED:
        _note(session, "what was active until now has changed since it was verified", found)
    past = _past(places)
    if len(past) < 2:
        raise NothingToDo(
            "There is nothing to roll back to.", evidence=["{} is the first".format(current_engine(places) or "nothing")]
        )
    entry = past[-2]
    problem = _unfit(entry, session)
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


def problems(session: Session) -> list[str]:
    found = []
    for name, problem in sorted(session.problems().items()):
        found += ["{}, {}: {}".format(name, problem["step"], line.strip()) for line in problem["what"].splitlines()[:4]]
    return found


def status(session: Session) -> None:
    """What is active and why, whether it is still what was verified, what was before, and what became of each variant. Needs
    neither trtexec nor the lock."""
    places, output = session.places, session.output
    past = _past(places)
    current = current_engine(places)
    entry = past[-1] if past else None
    used = {each["engine"] for each in past[-2:]}
    engines = sorted(path for path in places.engines.glob("*") if (path / PLAN).is_file())
    unused = [{"path": str(path), "size_bytes": (path / PLAN).stat().st_size} for path in engines if path.name not in used]
    rows = [_row(session, path, path.name == current) for path in engines]
    found = standing(places)
    before = standing_of(places, past[-2]) if len(past) > 1 else None
    nothing = "none: nothing was activated yet" if found is None else "none that was activated"
    lines = [f"current   {places.current / PLAN if current else nothing}"]
    if current and entry:
        lines += [f"          {current}", "          since {}: {}".format(entry["time"], entry["reason"])]
    if found is not None:
        lines += _told(found)
    if before is not None:
        lines += ["before    {}".format(past[-2]["engine"]), *_told(before)]
    measured = _measured_standing(places)
    if measured is not None:
        lines.append(f"measured  {places.measurements}: {measured}")
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
        state=None if found is None else found.state,
        evidence=[] if found is None else list(found.evidence),
        previous_state=None if before is None else before.state,
        report=measured,
    )


def _told(found: Standing) -> list[str]:
    """For people; whoever must do something reads what."""
    words = {VERIFIED: "verified: it is what was verified", CHANGED: "CHANGED since it was verified"}
    lines = ["          " + words.get(found.state, "unknown: nothing says that it was verified")]
    lines += ["          " + fact for fact in found.evidence]
    return lines + (["          To do: " + REMEDY] if found.state != VERIFIED else [])


def _measured_standing(places: Places) -> str | None:
    """Whether the measurements are as they were written; None if there are none."""
    try:
        return "as it was written" if is_whole(read_bytes(places.measurements, STATE_BYTES)) else CHANGED
    except (Refused, OSError):
        return None


def _note(session: Session, text: str, found: Standing) -> None:
    lines = "\n".join(["  note: " + text, *("    " + fact for fact in found.evidence)])
    session.output.emit("log", lines, line=shorten(f"{text}: {'; '.join(found.evidence)}", 400))


def _row(session: Session, folder: Path, current: bool) -> dict[str, Any]:
    facts, verified, bench = (read_sound(folder, name) or {} for name in ("engine", "verify", "bench"))
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
    past, current = entries(places), current_engine(places)
    while past and past[-1]["engine"] != current:
        past = past[:-1]
    return past


def _entry(session: Session, choice: Choice) -> dict[str, Any]:
    facts = choice.engine.facts
    return {
        "engine": choice.engine.folder.name,
        "variant": choice.engine.variant.name,
        "sha256": facts["sha256"],
        "tensorrt": facts["tensorrt"],
        "build_key": session.bundle.build_key,
        "time": now(),
        "reason": choice.reason,
        "sealed": seal(session, choice.engine),
    }


def _unfit(entry: dict[str, Any], session: Session) -> str:
    """Why the robot should not load this engine, in a few words; empty if it may."""
    folder = session.places.engines / entry["engine"]
    if not (folder / PLAN).is_file():
        return "it is gone"
    found = standing_of(session.places, entry)
    if found.state == CHANGED:
        return "it has changed since it was verified; " + "; ".join(found.evidence)
    facts, verified = read_sound(folder, "engine"), read_sound(folder, "verify")
    if facts is None or sha256_of(folder / PLAN) != facts["sha256"]:
        return "its file is not what was built"
    if verified is None or not verified["passed"] or verified.get("engine_sha256") != facts["sha256"]:
        return "it is not verified"
    try:
        session.identify()
    except BoardError:
        return ""  # a rollback is for emergencies: without trtexec the version cannot be compared, and that is no reason to stay
    version, gpu = dotted(session.trtexec.version), session.trtexec.gpu
    if facts["tensorrt"] != version or facts["compute_capability"] != gpu.compute_capability:
        return "it is for TensorRT {}; this is {}".format(facts["tensorrt"], version)
    return ""
