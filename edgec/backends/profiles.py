"""Target profiles: what a device, or a class of devices, can do, read from `targets/<family>/<name>.toml` or a user's own file.

`targets/README.md` explains the keys.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgec.backends.profile import Profile
from edgec.backends.registry import all_backends, get
from edgec.errors import TargetError
from edgec.paths import usable_path
from edgec.records.report import Host
from edgec.untrusted import TEXT_LIMIT, Refused, complaint, parse_toml, read_bytes

HOST = "cpu"
"""The target that is the host's own best profile."""
_MOST_EXTENDED = 16
"""Profiles between one and the last that it extends."""


def list_profiles() -> tuple[Profile, ...]:
    """The profiles that come with the families, sorted by family and architecture, classes of devices before boards."""
    profiles = [_read(path) for path in _shipped().values()]
    return tuple(sorted(profiles, key=lambda p: (p.family, p.architecture, p.standing is None, p.standing or 0, p.name)))


def chosen(name_or_path: str, host: Host) -> tuple[Profile, ...]:
    """The profiles that a build for this target serves: all members of a family, or one profile.

    Raises as `resolve`.
    """
    return family(name_or_path) or (resolve(name_or_path, host),)


def resolve(name_or_path: str, host: Host) -> Profile:
    """The profile of that name, or in the TOML file at that path; `cpu` is the best one for the host.

    Raises `TargetError` for an unknown name (with similar ones), a missing file, a file that is not a profile, a host that no
    profile suits, or a family of several targets (`family` gives them).
    """
    if several := family(name_or_path):
        raise TargetError(
            f"{name_or_path} is a family of {len(several)} targets, not one.",
            evidence=", ".join(profile.name for profile in several),
            remedy=f"name one of these here; `edgec build --target {name_or_path}` builds for all of them",
        )
    if backend := all_backends().get(name_or_path):
        return backend.best(_of_family(name_or_path), host)
    if name_or_path.endswith(".toml") or os.sep in name_or_path:
        return _read(usable_path(name_or_path, "The target's profile"))
    return _read(_path_of(name_or_path))


def family(name: str) -> tuple[Profile, ...]:
    """The profiles that one build for the family `name` serves, such as all Orin and Thor modules for `jetson`. Empty for any
    other name, and for a family whose name means one profile."""
    backend = all_backends().get(name)
    return () if backend is None else backend.members(_of_family(name))


def missing(profile: Profile, host: Host) -> tuple[str, ...]:
    """What the host lacks to be the target. Raises `TargetError` if the profile's family is not registered."""
    return get(profile.family).lacks(profile, host)


def lacks(target: str, host: Host) -> tuple[str, ...] | None:
    """What the host lacks to be the target of that name; None if no family has such a profile."""
    profile = {profile.name: profile for profile in list_profiles()}.get(target)
    return None if profile is None else missing(profile, host)


def _of_family(name: str) -> tuple[Profile, ...]:
    return tuple(profile for profile in list_profiles() if profile.family == name)


def _shipped() -> dict[str, Path]:
    """Files of the profiles that come with the families, by name: a file is named as the profile in it."""
    folders = [backend.profiles for backend in all_backends().values()]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def _path_of(name: str) -> Path:
    known = _shipped()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near += [other for other in known if name in other and other not in near]
    raise TargetError(
        f"There is no target named {name!r}.",
        evidence=[f"similar names: {', '.join(near)}"] * bool(near) + [f"all: {', '.join((*all_backends(), *known))}"],
        remedy="use one of these, or give the path of a TOML file of your own; `edgec targets` shows what each is for",
    )


def _read(path: Path) -> Profile:
    table = _table(path, ())
    family = table.get("family")
    # Which other keys it may have depends on its family.
    schema = get(family).profile_type if isinstance(family, str) else Profile
    try:
        return schema.model_validate(table)
    except ValidationError as error:
        raise TargetError(
            f"{path} is not a target profile.",
            evidence=[_complaint(dict(each), str(family)) for each in error.errors(include_url=False, include_input=False)],
            remedy="see targets/README.md for the keys of a profile",
        ) from error


def _complaint(error: dict[str, Any], family: str) -> str:
    key = ".".join(str(part) for part in error["loc"])
    known = {
        "extra_forbidden": f"profiles of the family {family!r} have no such key",
        "missing": f"profiles of the family {family!r} must have it",
    }
    text = known.get(error["type"], complaint(error))
    return f"{key}: {text}" if key else text


def _table(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    """The file's keys, on top of those of the profile that it extends. `below` are the files that extend this one."""
    if path.resolve() in below or len(below) > _MOST_EXTENDED:
        raise TargetError(
            f"{path} extends itself." if path.resolve() in below else f"{path} is extended through too many profiles.",
            evidence=" extends ".join(str(each) for each in (*below, path.resolve())),
            remedy="remove `extends` from one of them",
        )
    try:
        content = read_bytes(path, TEXT_LIMIT)
    except (OSError, Refused) as error:
        raise TargetError(
            f"{path} cannot be read as a target profile.", evidence=str(error), remedy="check the path given as --target"
        ) from error
    try:
        table = parse_toml(content)
    except Refused as error:
        raise TargetError(f"{path} is not TOML.", evidence=f"it {error}", remedy="correct it, or give another file") from error
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise TargetError(f"{path}: extends must be the name or the path of one profile.", evidence=f"it is {base!r}")
    base_path = usable_path(path.parent / base, f"The profile that {path} extends") if base.endswith(".toml") else _path_of(base)
    return _over(_table(base_path, (*below, path.resolve())), table)


def _over(base: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """`table` on top of `base`: tables are merged, promises are added, anything else is replaced. A rank is not inherited: a
    profile that extends another is chosen by its name only."""
    merged = {key: value for key, value in base.items() if key != "rank"}
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = {**merged[key], **value}
        elif key == "promises" and isinstance(value, list) and isinstance(merged.get(key), list):
            merged[key] = [*merged[key], *value]
        else:
            merged[key] = value
    return merged
