"""Which releases this board takes: with a key, only what a holder of it signed, whole, and not older than what is active.

Nothing of a release is executed, loaded or believed before its signature and all of its files were checked. `keys.py` says whose
signatures count.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping

from edgec_onboard.container import REPORT_SIGNATURE, SIGNATURE, Folder, Source, is_measurement
from edgec_onboard.errors import ArtefactError, Untrusted
from edgec_onboard.trust import Policy, Release, Released, Verified, check, check_policy, open_source, read_signed, read_verified
from edgec_onboard.trust import unpack as unpack_files
from edgec_onboard.untrusted import Refused, parse_json

from edgec_device.bundle import BUNDLE, MOST_BUNDLE_BYTES, Bundle, parse_bundle
from edgec_device.files import publish_folder
from edgec_device.install import check_room
from edgec_device.keys import FOLDER, SYSTEM, Keys
from edgec_device.output import megabytes
from edgec_device.seal import active_entry
from edgec_device.session import Layout, Session

_RELEASE = {"name": str, "version": str, "serial": int, "signer": str}


def open_signed(path: Path, keys: Keys, root: Path, function: str | None) -> tuple[Source, Bundle, Released]:
    """A bundle's file, or an artefact's folder on a board with a key: its source, which the caller closes, and what was checked.
    Name, serial and date are not: `require_current` does that. Raises as `edgec_onboard.trust.check`, and `ArtefactError` for a
    release that this program cannot use."""
    if not keys.any:
        raise Untrusted(
            f"{path} is a bundle, and no key is trusted here.",
            evidence=[f"looked in {SYSTEM} and {root / FOLDER}"],
            remedy="place the public key in one of these as NAME.pem, or name it with --trust",
        )
    source = open_source(path)
    try:
        if isinstance(source, Folder):
            released = read_signed(source, path, keys.trust)
        else:
            released = _without_measurement(check(source, path, Policy(keys.trust, keys.measurers, now=0.0)))
        document = read_verified(source, path, released.files, BUNDLE, MOST_BUNDLE_BYTES)
        try:
            bundle = parse_bundle(root, parse_json(document), f"{path}: {BUNDLE}", function)
        except Refused as error:
            raise ArtefactError("The bundle is damaged.", evidence=[f"{BUNDLE} {error}"]) from error
        return source, replace(bundle, root=Layout(root, bundle.name).releases / bundle.key), released
    except BaseException:
        source.__exit__()
        raise


def take(session: Session, source: Source, released: Released) -> None:
    """Install a release whose signature and files were checked: whole, under its key, unless it is there. The caller must hold
    the lock. Raises what `require_current`, `identify` and `check_room` do, and `Untrusted` for a file that changed meanwhile."""
    output, release = session.output, session.release
    require_current(session, released)
    output.step("install", str(release))
    if _installed(session, released):
        output.emit("done", "  nothing to do: it is installed, and whole", step="install", result="unchanged")
        return
    total = sum(source.sizes[name] for name in released.files)
    session.identify()
    check_room(session, total)
    with session.layout.scratch(session.layout.releases) as work:
        unpack_files(source, released.files, work)
        publish_folder(work, release)
    output.emit("done", f"  copied {len(released.files)} files, {megabytes(total)}", step="install", result="copied")


def require_signed(session: Session, folder: Path) -> None:
    """Check the release that lies in `folder`, if this board has a key. Raises as `edgec_onboard.trust.check`."""
    signed = (folder / SIGNATURE).is_file()
    if session.keys.any:
        with open_source(folder) as source:
            require_current(session, read_signed(source, folder, session.keys.trust))
    elif signed:
        note = "it is signed, and no key is here to check that"
        session.output.emit("log", "  note: " + note, line=note)


def require_current(session: Session, released: Released) -> None:
    """Raises `Outdated` for a release that has expired, or that is older than the active one, or another product's. What is taken
    is remembered for the activation."""
    release, active = released.release, active_release(session.layout) or {}
    policy = Policy(session.keys.trust)
    if not session.options.allow_older:
        # Under whatever name: an artefact has the name of its checkpoint, which may be another for the same product.
        homes = (path.parent.name for path in session.options.root.glob("*/history.json"))
        everywhere = [active_release(Layout(session.options.root, name)) or {} for name in homes]
        least = max((each["serial"] for each in everywhere if each.get("name") == release.name), default=0)
        policy = policy._replace(name=active.get("name", ""), least_serial=least)
    # What runs already may expire, and still be verified, measured and kept.
    if any(active.get(name) != value for name, value in release._asdict().items()):
        check_policy(release, session.bundle.root, policy)
    if session.released is None:
        text = f"  {_said(release)}, signed by {released.signer}"
        session.output.emit("release", text, **release._asdict(), signer=released.signer)
    session.released = released


def unsigned(name: str) -> Untrusted:
    """The error for an artefact without a signature on a board that has a key."""
    return Untrusted(
        f"{name} is not signed, and this board takes only what is.",
        evidence=[f"it has no {SIGNATURE}"],
        remedy="make a bundle of the artefact with `edgec bundle ARTEFACT --sign KEY`, and deploy that",
    )


def active_release(layout: Layout) -> dict[str, Any] | None:
    """Name, version, serial and signer of the active release; None if what is active was not signed."""
    return _release_in(active_entry(layout) or {})


def released_in_words(entry: Mapping[str, Any]) -> str:
    """What an activation says about the release; empty if no signature was checked."""
    release = _release_in(entry)
    return "" if release is None else "{name} {version}, serial {serial}, signed by {signer}".format(**release)


def recorded_release(session: Session) -> dict[str, Any]:
    """What an activation records about the release; nothing if no signature was checked."""
    released = session.released
    return {} if released is None else {"release": {**released.release._asdict(), "signer": released.signer}}


def _release_in(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    release = entry.get("release")
    complete = isinstance(release, dict) and all(isinstance(release.get(name), kind) for name, kind in _RELEASE.items())
    return release if complete else None


def _said(release: Release) -> str:
    return f"{release.name} {release.version}, serial {release.serial}" + f", until {release.expires}" * bool(release.expires)


def _without_measurement(verified: Verified) -> Released:
    files = {name: digest for name, digest in verified.files.items() if not is_measurement(name) and name != REPORT_SIGNATURE}
    return Released(verified.release, verified.signer, files)


def _installed(session: Session, released: Released) -> bool:
    """Whether the release is there with exactly these files."""
    try:
        with Folder(session.release) as source:
            there = read_signed(source, session.release, session.keys.trust)
    except (Refused, Untrusted, OSError):
        return False
    return there.files == released.files
