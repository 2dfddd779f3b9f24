"""activate, rollback, status: which engine the robot loads.

`current` is a link that is replaced in one step. history.json lists what it has pointed to, and is written *before* the link: the
history of the current engine is what comes before its last entry there, so a crash between the two loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from edgec_onboard.errors import BoardError
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
    EngineState,
    activations,
    active_state,
    current_engine,
    engine_state,
    entries,
    require_whole,
    seal,
)
from edgec_device.session import Engine, Layout, Session, content_of, has_files, loaded, read_sound, size_of
from edgec_device.trusted import recorded_release, released_in_words

_MOST_ENTRIES = 50
"""Entries of the history that are kept."""


@dataclass(frozen=True)
class Choice:
    """The engine to activate, and why."""

    engine: Engine
    reason: str


def choose(session: Session, variants: Sequence[Variant]) -> Choice:
    """The fastest verified engine; the earlier in the bundle's order if two are equally fast.

    Raises `NothingToDo` if none is verified, or if one of them was not measured: INT8 must be faster on this very board.
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

    choice = fastest({engine.variant.name: float((speeds[engine.variant.name] or {})["p50_ms"]) for engine in measured})
    assert choice is not None, "at least one is measured"
    best, reason = choice
    wrong = [engine.variant.name for engine in engines if not (engine.verified(session.bundle) or {"passed": True})["passed"]]
    reason += f"; wrong outputs of {', '.join(wrong)}" * bool(wrong) + "."
    return Choice(next(engine for engine in measured if engine.variant.name == best), reason)


def activate(session: Session, choice: Choice) -> None:
    """Point `current` at the engine, after checking its file once more. Raises `EngineChanged`."""
    layout, engine = session.layout, choice.engine
    session.output.step("activate", engine.folder.name)
    require_whole(engine)
    past, entry, before = activations(layout), _entry(session, choice), active_state(layout)
    active = current_engine(layout) == engine.folder.name
    if before is not None and before.state == CHANGED:
        _note(session, "the engine that was active until now has changed since it was verified", before)
    if active and before is not None and before.state == VERIFIED and past[-1]["sha256"] == entry["sha256"]:
        newer = {name: entry.get(name) for name in ("sealed", "release", "build_key")}
        if any(past[-1].get(name) != value for name, value in newer.items()):  # verified again, by another bundle
            write_record(layout.history, {"activations": [*past[:-1], {**past[-1], **newer}]})
        session.output.emit(
            "done",
            "  nothing to do: it is active already",
            step="activate",
            variant=engine.variant.name,
            result="unchanged",
            path=str(layout.current / engine.file.name),
        )
        return
    if past and past[-1]["engine"] == entry["engine"]:
        past = past[:-1]  # it was built again in the same folder: the former file is gone
    write_record(layout.history, {"activations": [*past, entry][-_MOST_ENTRIES:]})
    point(layout.current, f"{layout.engines.name}/{engine.folder.name}")
    session.output.emit(
        "done",
        f"  {choice.reason}\n  load {layout.current / engine.file.name}",
        step="activate",
        variant=engine.variant.name,
        result="activated",
        path=str(layout.current / engine.file.name),
        reason=choice.reason,
    )


def recheck_active(session: Session) -> None:
    """If the active engine is not what was verified, make `verify` and `bench` judge it again by removing their records; make
    `build` build it again if its file is another one."""
    layout = session.layout
    state, name = active_state(layout), current_engine(layout)
    if state is None or state.state != CHANGED:
        return
    _note(session, "the active engine has changed since it was verified; it is verified again", state)
    folder = layout.engines / name if name else None
    if folder is None or folder.is_symlink():
        return
    for record in ("verify", "bench"):
        remove(folder / (record + ".json"))
    entry = next((entry for entry in reversed(entries(layout)) if entry["engine"] == name), None)
    facts = read_sound(folder, "engine")
    whole = facts is not None and has_files(folder) and facts["sha256"] == content_of(folder)
    if entry is None or facts is None or not whole or facts["sha256"] != entry.get("sha256"):
        remove(folder / "engine.json")


def rollback(session: Session) -> None:
    """Point `current` at the engine before it. Raises `NothingToDo` if there is none, or it cannot run.

    The active engine may be in any state: it is the one to get away from.
    """
    layout, output = session.layout, session.output
    output.step("rollback", layout.home.name)
    state = active_state(layout)
    if state is not None and state.state == CHANGED:
        _note(session, "the engine that was active until now has changed since it was verified", state)
    past = activations(layout)
    if len(past) < 2:
        raise NothingToDo(
            "There is nothing to roll back to.",
            evidence=[
                "{} is the only one in the history".format(past[0]["engine"])
                if past
                else "what is active now was not activated by this program, or nothing is"
            ],
        )
    entry = past[-2]
    problem = _unfit(entry, session)
    if problem:
        raise NothingToDo(
            "The previous engine cannot be used any more.",
            evidence=["{}: {}".format(entry["engine"], problem)],
            remedy="run `run-all` with its bundle: that builds and verifies it again",
        )
    point(layout.current, f"{layout.engines.name}/{entry['engine']}")
    text = "  back at {}: {}".format(entry["engine"], entry["reason"])
    output.emit("done", text, step="rollback", variant=entry["variant"], result="activated", path=robots_file(layout))


def problems(session: Session) -> list[str]:
    """Why variants failed last, in lines for people."""
    lines = []
    for name, problem in sorted(session.problems().items()):
        lines += ["{}, {}: {}".format(name, problem["step"], line.strip()) for line in problem["what"].splitlines()[:4]]
    return lines


def status(session: Session) -> None:
    """Report what is active and why, whether it is still what was verified, what was active before, and the state of each
    variant. Needs neither the tool nor the lock."""
    layout, output = session.layout, session.output
    past = activations(layout)
    current = current_engine(layout)
    entry = past[-1] if past else None
    used = {activation["engine"] for activation in past[-2:]}
    engines = sorted(path for path in layout.engines.glob("*") if has_files(path))
    unused = [{"path": str(path), "size_bytes": size_of(path)} for path in engines if path.name not in used]
    rows = [_row(session, path, path.name == current) for path in engines]
    state = active_state(layout)
    before = engine_state(layout, past[-2]) if len(past) > 1 else None
    nothing = "none: nothing was activated yet" if state is None else "none that was activated"
    lines = [f"current   {robots_file(layout) if current else nothing}"]
    if current and entry:
        lines += [f"          {current}", "          since {}: {}".format(entry["time"], entry["reason"])]
        lines += [f"          {words}" for words in [released_in_words(entry)] if words]
    if state is not None:
        lines += _state_lines(state)
    if before is not None:
        lines += ["before    {}".format(past[-2]["engine"]), *_state_lines(before)]
    measured = _measurements_state(layout)
    if measured is not None:
        lines.append(f"measured  {layout.measurements}: {measured}")
    width = max([26, *(len(row["engine"]) + 4 for row in rows)])
    lines += ["", "engine".ljust(width) + "verified    p50 ms  evidence"] if rows else []
    for row in rows:
        verdict = {True: "yes", False: "FAILED", None: "no"}[row["passed"]]
        p50 = "-" if row["p50_ms"] is None else "{:.3f}".format(row["p50_ms"])
        name = ("* " if row["current"] else "  ") + row["engine"]
        lines.append("{}{:<10}{:>8}  {}".format(name.ljust(width), verdict, p50, row["evidence"] or ""))
    for text in problems(session):
        lines.append("problem   " + text)
    for engine in unused:
        lines.append("unused    {} ({})".format(engine["path"], megabytes(float(str(engine["size_bytes"])))))
    output.emit(
        "status",
        "\n".join(lines),
        current=entry if current else None,
        previous=past[-2] if len(past) > 1 else None,
        engines=rows,
        problems=session.problems(),
        unused=unused,
        path=robots_file(layout) if current else None,
        state=None if state is None else state.state,
        evidence=[] if state is None else list(state.evidence),
        previous_state=None if before is None else before.state,
        report=measured,
    )


def _state_lines(state: EngineState) -> list[str]:
    """For people, with what to do unless it is verified."""
    words = {VERIFIED: "verified, and unchanged since", CHANGED: "CHANGED since it was verified"}
    lines = ["          " + words.get(state.state, "unknown: there is no record that it was verified")]
    lines += ["          " + fact for fact in state.evidence]
    return lines + (["          To do: " + REMEDY] if state.state != VERIFIED else [])


def _measurements_state(layout: Layout) -> str | None:
    """Whether the measurements are unchanged; None if there are none."""
    try:
        return "as it was written" if is_whole(read_bytes(layout.measurements, STATE_BYTES)) else CHANGED
    except (Refused, OSError):
        return None


def _note(session: Session, text: str, state: EngineState) -> None:
    lines = "\n".join(["  note: " + text, *("    " + fact for fact in state.evidence)])
    session.output.emit("log", lines, line=shorten(f"{text}: {'; '.join(state.evidence)}", 400))


def _row(session: Session, folder: Path, current: bool) -> dict[str, Any]:
    facts, verified, bench = (read_sound(folder, name) or {} for name in ("engine", "verify", "bench"))
    return {
        "engine": folder.name,
        "variant": facts.get("variant"),
        "build_key": facts.get("build_key"),
        "tensorrt": facts.get("tensorrt"),
        "runtime": facts.get("runtime"),
        "current": current,
        "passed": verified.get("passed"),
        "problems": verified.get("problems", []),
        "figures": verified.get("figures"),
        "tasks": verified.get("tasks", []),
        "p50_ms": bench.get("p50_ms"),
        "evidence": bench.get("evidence"),
    }


def _entry(session: Session, choice: Choice) -> dict[str, Any]:
    facts = choice.engine.facts
    return {
        "engine": choice.engine.folder.name,
        "variant": choice.engine.variant.name,
        "sha256": facts["sha256"],
        **session.tool.identity(choice.engine.variant),
        "build_key": session.bundle.build_key,
        "time": now(),
        "reason": choice.reason,
        "sealed": seal(session, choice.engine),
        **recorded_release(session),
    }


def _unfit(entry: dict[str, Any], session: Session) -> str:
    """Why the robot must not load this engine, in a few words; empty if it may."""
    folder = session.layout.engines / entry["engine"]
    if not has_files(folder):
        return "it is gone"
    state = engine_state(session.layout, entry)
    if state.state == CHANGED:
        return "it has changed since it was verified; " + "; ".join(state.evidence)
    facts, verified = read_sound(folder, "engine"), read_sound(folder, "verify")
    if facts is None or content_of(folder) != facts["sha256"]:
        return "its content is not what was built"
    if verified is None or not verified["passed"] or verified.get("engine_sha256") != facts["sha256"]:
        return "it is not verified"
    try:
        session.identify()
    except BoardError:
        return ""  # a rollback is for emergencies: it must not fail because there is no tool to compare versions with
    variant = session.bundle.variant(entry["variant"])
    for name, value in {} if variant is None else session.tool.identity(variant).items():
        if facts.get(name, value) != value:
            return f"it is for {name} {facts[name]}; this is {value}"
    return ""


def robots_file(layout: Layout) -> str:
    """The path that the robot loads."""
    return str(layout.current / loaded(layout.current))
