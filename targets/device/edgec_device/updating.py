"""update, health, commit, undo: what a tool that updates whole fleets calls (RAUC, SWUpdate, Mender).

`update` writes down what is active before it changes anything, and `undo` goes back there; `commit` makes the new release the
one that stays, after one more look at it. Each may be repeated: whatever was interrupted, by a signal or by a power cut, the next
call ends it.

ROOT/update.json    the name, and `before`: the activation that was in force, or null
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from edgec_onboard.errors import ArtefactError, UsageError

from edgec_device.activation import robots_file
from edgec_device.bundle import BUNDLE, Bundle, read_bundle
from edgec_device.errors import EngineChanged, NothingToDo
from edgec_device.files import point, read_record, remove, write_record
from edgec_device.output import Output
from edgec_device.seal import CHANGED, activations, active_entry, engine_state, is_entry, release_of, require_unchanged
from edgec_device.session import Layout, Session
from edgec_device.trusted import require_signed
from edgec_device.verify import verify

UPDATE = "update.json"


def begin(session: Session) -> None:
    """Write down what is active, unless an update is under way: then that is what counts. The caller must hold the lock. Raises
    `UsageError` if an update of another artefact is."""
    record, name = _open_update(session.options.root), session.layout.home.name
    if record is None:
        entry = active_entry(session.layout)
        write_record(session.options.root / UPDATE, {"name": name, "before": entry})
        before = "nothing was active" if entry is None else "{} was active".format(entry["engine"])
        session.output.emit("log", f"  update of {name}: {before}", line=before)
    elif record["name"] != name:
        raise UsageError(
            "An update of another artefact is under way here.",
            evidence=["{} in {}".format(record["name"], session.options.root / UPDATE)],
            remedy="end it with `commit` or `undo`",
        )


def commit(session: Session) -> None:
    """Look at the active engine as `health` does, and forget the way back."""
    health(session)
    record = _open_update(session.options.root)
    remove(session.options.root / UPDATE)
    result = "unchanged" if record is None else "committed"
    session.output.emit("done", f"  {session.layout.home.name}: {result}", step="commit", result=result)


def health(session: Session) -> None:
    """Raises an error unless the active engine is what was verified, and reproduces the golden features now."""
    session.output.step("health", session.layout.home.name)
    entry = active_entry(session.layout)
    if entry is None:
        raise NothingToDo("Nothing is active.", evidence=[str(session.layout.current)], remedy="run `update` or `run-all` first")
    require_unchanged(session)
    require_signed(session, session.require_release())
    session.identify()
    variant = session.bundle.variant(entry["variant"])
    engine = None if variant is None else session.engine(variant)
    if engine is None or engine.folder.name != entry["engine"]:
        raise EngineChanged(
            "The active engine is not for the software that is here.",
            evidence=["{} is active, and {} would be made here".format(entry["engine"], engine and engine.folder.name)],
            remedy="run `run-all`, which builds and verifies one for it",
        )
    for error in verify(session, [engine], again=True).values():
        raise error
    session.output.emit("done", f"  {entry['engine']} reproduces the golden features", step="health", result="healthy")


def undo(root: Path, output: Output) -> None:
    """Go back to what was active before the update; nothing if none is under way. The caller must hold the lock. Raises
    `NothingToDo` if that has changed since: what is active stays, and so does the way back."""
    output.step("undo", str(root))
    record = _open_update(root)
    if record is None and (root / UPDATE).is_file():
        raise ArtefactError(
            "What was active before the update is not known any more.",
            evidence=[f"{root / UPDATE} is damaged"],
            remedy="go back with `rollback`, or deploy a release again; then remove that file",
        )
    if record is None:
        output.emit("done", "  nothing to do: no update is under way", step="undo", result="unchanged")
        return
    layout, before = Layout(root, record["name"]), record["before"]
    text = "  nothing is active, as before"
    if before is None:
        remove(layout.current)
    else:
        state = engine_state(layout, before)
        if state.state == CHANGED:
            raise NothingToDo(
                "What was active before the update has changed since it was verified.",
                evidence=state.evidence,
                remedy="deploy a release again: that builds and verifies it",
            )
        _restore(layout, before)
        text = "  back at {}: {}".format(before["engine"], before["reason"])
    remove(root / UPDATE)
    path = None if before is None else robots_file(layout)
    output.emit("done", text, step="undo", result="activated", path=path)


def installed(root: Path, name: str, function: str | None) -> Bundle:
    """The bundle of what is active under `root`; of `name`, or else of the update that is under way, if one is.

    Raises `NothingToDo` if nothing is, or its release is gone, and `UsageError` if a name must be given."""
    name = name or (_open_update(root) or {"name": ""})["name"]
    names = sorted(path.parent.name for path in root.glob("*/history.json"))
    if name not in names and (name or not names):
        raise NothingToDo(
            f"Nothing was activated here{f' as {name}' * bool(name)}.",
            evidence=[f"{root} has {', '.join(names) or 'nothing'}"],
            remedy="run `run-all` with a bundle first",
        )
    if not name and len(names) > 1:
        raise UsageError("Several artefacts are installed here.", evidence=names, remedy="choose one with --name")
    layout = Layout(root, name or names[0])
    past = activations(layout)
    candidates = [release_of(layout, entry) for entry in reversed(past)]
    for release in candidates:
        with suppress(ArtefactError):
            return read_bundle(release, function)
    raise NothingToDo(
        f"Nothing is active as {layout.home.name}.",
        evidence=[f"no {BUNDLE} in {path}" for path in candidates] or [f"{layout.current} points to nothing"],
        remedy="run `run-all` with a bundle",
    )


def _restore(layout: Layout, before: dict[str, Any]) -> None:
    """The link decides. Where two releases have the same engine, the history alone tells which of them is active."""
    past = activations(layout)
    if not past or past[-1]["engine"] != before["engine"]:
        point(layout.current, "{}/{}".format(layout.engines.name, before["engine"]))
        past = activations(layout) or [before]
    if past[-1] != before:
        write_record(layout.history, {"activations": [*past[:-1], before]})


def _open_update(root: Path) -> dict[str, Any] | None:
    record = read_record(root / UPDATE)
    if record is None or not isinstance(record.get("name"), str):
        return None
    before = record.get("before")
    return record if before is None or is_entry(before) else None
