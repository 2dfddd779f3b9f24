"""Whether what is active is still what was verified: its activation wrote down hashes, which are compared with what is there.

An activation's entry in history.json has the engine's SHA-256 and, as `sealed`, those of the graph that it was made of, of the
golden frames and outputs that it was judged by, of the bundle that said so, and of the program that judged. Nothing here rests on
a verdict from before: the engine's file is read each time, whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec_onboard.files import is_plain_file, sha256_of

from edgec_device.bundle import BUNDLE
from edgec_device.errors import EngineChanged
from edgec_device.files import read_json, read_record
from edgec_device.session import PLAN, Engine, Places, Session, read_sound

VERIFIED, CHANGED, UNKNOWN = "verified", "changed", "unknown"
REMEDY = "run `edgec deploy` again (here: `run-all`): it builds and verifies anew what has changed"
_ENTRY = ("engine", "variant", "time", "reason")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Standing:
    """`state` of an engine, and the evidence for it, a sentence each; none if it is `verified`."""

    state: str
    evidence: tuple[str, ...] = ()


def seal(session: Session, engine: Engine) -> dict[str, Any]:
    """What an activation writes down, beside the engine's SHA-256. Paths are under ROOT/NAME. Raises `OSError`."""
    bundle, release, home = session.bundle, session.release, session.places.home
    hashes = {file.path: file.sha256 for file in bundle.files}
    paths = (engine.variant.path, bundle.golden_frames, bundle.golden_expected)
    files = {str((release / path).relative_to(home)): hashes[path] for path in paths}
    files[str((release / BUNDLE).relative_to(home))] = _hash_of(release / BUNDLE)
    return {"files": files, "program": _program()}


def entries(places: Places) -> list[dict[str, Any]]:
    """Of history.json, those that are of the form that an activation writes, oldest first."""
    kept = (read_record(places.history) or {}).get("activations")
    return [each for each in kept if _is_entry(each)] if isinstance(kept, list) else []


def current_engine(places: Places) -> str | None:
    """The name of the engine's folder that `current` points to; None if it points to nothing, or elsewhere."""
    name = _pointed(places)
    return name if name and (places.engines / name / PLAN).is_file() else None


def standing(places: Places) -> Standing | None:
    """Of what the robot loads: None if nothing is active."""
    if not os.path.lexists(str(places.current)):
        return None
    name = _pointed(places)
    if name is None:
        where = os.readlink(str(places.current)) if places.current.is_symlink() else "no link at all"
        return Standing(CHANGED, (f"current is {where}, which no activation made",))
    entry = next((each for each in reversed(entries(places)) if each["engine"] == name), None)
    if entry is None:
        if not is_plain_file(places.engines / name / PLAN):
            return Standing(CHANGED, (f"{name}: its {PLAN} is gone",))
        return Standing(UNKNOWN, (f"history.json, as it is, knows of no activation of {name}",))
    return standing_of(places, entry)


def standing_of(places: Places, entry: dict[str, Any]) -> Standing:
    """Of the engine of an activation, which reads all of its file."""
    folder, name, expected = places.engines / entry["engine"], entry["engine"], entry.get("sha256")
    if folder.is_symlink() or not is_plain_file(folder / PLAN):
        return Standing(CHANGED, (f"{name}: its {PLAN} is gone, or is a link",))
    if not isinstance(expected, str) or not _SHA256.fullmatch(expected):
        return Standing(UNKNOWN, (f"the activation of {name} has no hash of it",))
    found = sha256_of(folder / PLAN)
    changed = [_differ(f"{name}/{PLAN}", found, expected)] if found != expected else []
    facts, verified = read_sound(folder, "engine"), read_sound(folder, "verify")
    if facts is None or facts["sha256"] != expected:
        changed.append(f"{name}/engine.json is not what was written with the engine, or is of another one")
    changed += [_differ(path, other, wanted) for path, other, wanted in _changed_files(places, entry)]
    if changed:
        return Standing(CHANGED, tuple(changed))
    if verified is None or verified.get("engine_sha256") != expected or not verified["passed"]:
        said = "says that it failed since" if verified is not None and not verified["passed"] else "is gone, or is damaged"
        return Standing(UNKNOWN, (f"{name}/verify.json {said}",))
    return Standing(VERIFIED)


def require_unchanged(session: Session) -> None:
    """Raises `EngineChanged` if what is active is not what was verified."""
    found = standing(session.places)
    if found is not None and found.state == CHANGED:
        raise EngineChanged("The active engine has changed since it was verified.", evidence=found.evidence, remedy=REMEDY)


def require_whole(engine: Engine) -> None:
    """Raises `EngineChanged` if the engine is not what its verification was of."""
    found = sha256_of(engine.plan) if engine.built else ""
    if not found or found != engine.facts["sha256"]:
        evidence = _differ(f"{engine.folder.name}/{PLAN}", found, engine.facts["sha256"]) if found else f"{engine.plan} is gone"
        what = f"The engine of {engine.variant.name} has changed since it was verified."
        raise EngineChanged(what, evidence=[evidence], remedy=REMEDY)


def _pointed(places: Places) -> str | None:
    try:
        target = os.readlink(str(places.current))
    except OSError:
        return None
    folder, slash, name = target.rpartition("/")
    return name if slash and folder == places.engines.name and _NAME.fullmatch(name) else None


def _changed_files(places: Places, entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Path, SHA-256 and what it was. What is not there any more has not changed; older activations say nothing of files."""
    sealed = entry.get("sealed")
    files = sealed.get("files") if isinstance(sealed, dict) else None
    found = []
    for path, expected in files.items() if isinstance(files, dict) else ():
        place = places.home / path
        if not isinstance(expected, str) or ".." in place.parts or not place.is_file():
            continue
        sha256 = _hash_of(place)
        if sha256 != expected:
            found.append((path, sha256, expected))
    return found


def _hash_of(path: Path) -> str:
    """The file's SHA-256; of a bundle what it says of all but programs: a newer one that was sent judges no other way."""
    document = read_json(path) if path.name == Path(BUNDLE).name else None
    if document is None or not isinstance(document.get("files"), list):
        return sha256_of(path)
    programs = str(Path(BUNDLE).parent) + "/"
    files = [each for each in document["files"] if not str(isinstance(each, dict) and each.get("path")).startswith(programs)]
    text = json.dumps({**document, "files": files}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _differ(path: str, found: str, expected: str) -> str:
    return f"{path} has SHA-256 {found}, and had {expected} when it was verified"


def _is_entry(each: Any) -> bool:
    return (
        isinstance(each, dict) and all(isinstance(each.get(key), str) for key in _ENTRY) and bool(_NAME.fullmatch(each["engine"]))
    )


def _program() -> str | None:
    """The SHA-256 of this very program, where it is one file."""
    path = Path(sys.argv[0])
    return sha256_of(path) if path.is_file() else None
