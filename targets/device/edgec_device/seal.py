"""Whether the active engine is still what was verified: its activation recorded hashes, which are compared with the files.

An activation's entry in history.json has the engine's SHA-256 and, as `sealed`, those of the graph that it was built from, of the
golden frames and outputs that it was judged by, of the bundle, and of the program that judged. Earlier verdicts are not relied
on: the engine's file is read each time, whole.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgec_onboard.files import sha256_of

from edgec_device.bundle import BUNDLE
from edgec_device.content import content_of_document
from edgec_device.errors import EngineChanged
from edgec_device.files import read_json, read_record
from edgec_device.session import Engine, Layout, Session, content_of, has_files, loaded, read_sound

VERIFIED, CHANGED, UNKNOWN = "verified", "changed", "unknown"
REMEDY = "run `edgec deploy` again (or `run-all` here): it builds and verifies again what has changed"
_ENTRY = ("engine", "variant", "time", "reason")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class EngineState:
    """Whether an engine is `VERIFIED`, `CHANGED` or `UNKNOWN`, and the evidence, a sentence each; none if it is verified."""

    state: str
    evidence: tuple[str, ...] = ()


def seal(session: Session, engine: Engine) -> dict[str, Any]:
    """What an activation records besides the engine's SHA-256. Paths are relative to ROOT/NAME. Raises `OSError`."""
    bundle, release, home = session.bundle, session.release, session.layout.home
    hashes = {file.path: file.sha256 for file in bundle.files}
    paths = (engine.variant.path, *engine.variant.others, *bundle.golden)
    files = {str((release / path).relative_to(home)): hashes[path] for path in paths}
    files[str((release / BUNDLE).relative_to(home))] = _hash_of(release / BUNDLE)
    return {"files": files, "program": _program()}


def entries(layout: Layout) -> list[dict[str, Any]]:
    """The entries of history.json that have the form that an activation writes, oldest first."""
    activations = (read_record(layout.history) or {}).get("activations")
    return [entry for entry in activations if is_entry(entry)] if isinstance(activations, list) else []


def activations(layout: Layout) -> list[dict[str, Any]]:
    """The activations up to the current one. Later ones were not completed, or were rolled back."""
    past, current = entries(layout), current_engine(layout)
    while past and past[-1]["engine"] != current:
        past = past[:-1]
    return past


def active_entry(layout: Layout) -> dict[str, Any] | None:
    """The activation of what is active; None if nothing is."""
    return next(reversed(activations(layout)), None)


def release_of(layout: Layout, entry: dict[str, Any]) -> Path:
    """The folder of the release that an activation's engine was judged by."""
    sealed = entry.get("sealed")
    files = sealed.get("files") if isinstance(sealed, dict) else None
    for name in files if isinstance(files, dict) else ():
        parts = PurePosixPath(name).parts
        if len(parts) > 2 and parts[0] == layout.releases.name and str(PurePosixPath(*parts[2:])) == BUNDLE:
            return layout.releases / parts[1]
    return layout.releases / str(entry.get("build_key", ""))[:16]  # of an older program


def current_engine(layout: Layout) -> str | None:
    """The name of the engine's folder that `current` points to; None if it points to nothing, or elsewhere."""
    name = _pointed(layout)
    return name if name and (layout.engines / name / loaded(layout.engines / name)).exists() else None


def active_state(layout: Layout) -> EngineState | None:
    """The state of the engine that the robot loads; None if nothing is active."""
    if not os.path.lexists(str(layout.current)):
        return None
    name = _pointed(layout)
    if name is None:
        target = f"points to {os.readlink(str(layout.current))}" if layout.current.is_symlink() else "is not a link"
        return EngineState(CHANGED, (f"current {target}, which no activation wrote",))
    entry = next((entry for entry in reversed(entries(layout)) if entry["engine"] == name), None)
    if entry is None:
        if not has_files(layout.engines / name):
            return EngineState(CHANGED, (f"{name}: a file of it is gone",))
        return EngineState(UNKNOWN, (f"history.json has no activation of {name}",))
    return engine_state(layout, entry)


def engine_state(layout: Layout, entry: dict[str, Any]) -> EngineState:
    """The state of an activation's engine. Reads its files whole."""
    folder, name, expected = layout.engines / entry["engine"], entry["engine"], entry.get("sha256")
    if not has_files(folder):
        return EngineState(CHANGED, (f"{name}: a file of it is gone, or is a link",))
    if not isinstance(expected, str) or not _SHA256.fullmatch(expected):
        return EngineState(UNKNOWN, (f"the activation of {name} has no hash of it",))
    actual = content_of(folder)
    changed = [_differ(f"{name}/{loaded(folder)}", actual, expected)] if actual != expected else []
    facts, verified = read_sound(folder, "engine"), read_sound(folder, "verify")
    if facts is None or facts["sha256"] != expected:
        changed.append(f"{name}/engine.json is not what was written with the engine, or belongs to another one")
    changed += [_differ(*file) for file in _changed_files(layout, entry)]
    if changed:
        return EngineState(CHANGED, tuple(changed))
    if verified is None or verified.get("engine_sha256") != expected or not verified["passed"]:
        problem = "says that it failed later" if verified is not None and not verified["passed"] else "is missing or damaged"
        return EngineState(UNKNOWN, (f"{name}/verify.json {problem}",))
    return EngineState(VERIFIED)


def require_unchanged(session: Session) -> None:
    """Raises `EngineChanged` if the active engine is not what was verified."""
    state = active_state(session.layout)
    if state is not None and state.state == CHANGED:
        raise EngineChanged("The active engine has changed since it was verified.", evidence=state.evidence, remedy=REMEDY)


def require_whole(engine: Engine) -> None:
    """Raises `EngineChanged` if the engine's file is not the one that was verified."""
    actual = content_of(engine.folder) if engine.built else ""
    if not actual or actual != engine.facts["sha256"]:
        name = f"{engine.folder.name}/{engine.file.name}"
        evidence = _differ(name, actual, engine.facts["sha256"]) if actual else f"{engine.file} is missing"
        what = f"The engine of {engine.variant.name} has changed since it was verified."
        raise EngineChanged(what, evidence=[evidence], remedy=REMEDY)


def _pointed(layout: Layout) -> str | None:
    try:
        target = os.readlink(str(layout.current))
    except OSError:
        return None
    folder, slash, name = target.rpartition("/")
    return name if slash and folder == layout.engines.name and _NAME.fullmatch(name) else None


def _changed_files(layout: Layout, entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Path, SHA-256 and recorded SHA-256 of files that changed. Missing files do not count; older activations recorded none."""
    sealed = entry.get("sealed")
    files = sealed.get("files") if isinstance(sealed, dict) else None
    changed = []
    for name, expected in files.items() if isinstance(files, dict) else ():
        path = layout.home / name
        if not isinstance(expected, str) or ".." in path.parts or not path.is_file():
            continue
        actual = _hash_of(path)
        if actual != expected:
            changed.append((name, actual, expected))
    return changed


def _hash_of(path: Path) -> str:
    """The file's SHA-256; for a bundle `content_of_document`."""
    document = read_json(path) if path.name == Path(BUNDLE).name else None
    if document is None or not isinstance(document.get("files"), list):
        return sha256_of(path)
    return content_of_document(document)


def _differ(path: str, actual: str, expected: str) -> str:
    return f"{path} has SHA-256 {actual}, and had {expected} when it was verified"


def is_entry(value: Any) -> bool:
    """Whether it has the form of an activation."""
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in _ENTRY):
        return False
    return bool(_NAME.fullmatch(value["engine"]))


def _program() -> str | None:
    """The SHA-256 of this program; None if it is not one file."""
    path = Path(sys.argv[0])
    return sha256_of(path) if path.is_file() else None
