"""preflight and install: whether the board can run the bundle, and a copy of it that nobody else changes."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgec_onboard.errors import DiskFull
from edgec_onboard.files import is_plain_file, link, sha256_of

from edgec_device import sensors
from edgec_device.bundle import BUNDLE, File, check_files, damaged
from edgec_device.errors import from_os_error
from edgec_device.files import publish_folder
from edgec_device.output import megabytes
from edgec_device.session import Session
from edgec_device.throttling import history, throttling

_MARGIN_BYTES = 64 << 20
"""Besides engines: timing caches, logs, golden outputs as text."""
_LITTLE_MEMORY_BYTES = 2 << 30


def preflight(session: Session) -> dict[str, Any]:
    """Check everything that later steps need, and print warnings; returns the facts about the board. Needs no lock, and creates
    only --dir. Raises `WrongBoard`, `NoRuntime`, `ArtefactError` or `DiskFull`."""
    output, bundle = session.output, session.bundle
    output.step("preflight", f"{bundle.name} ({bundle.key})")
    session.identify()
    if session.released is None:
        check_files(bundle)
    check_room(session)
    facts = board_facts(session)
    hidden = ("clocks", "packages", "profile", *session.family.hidden)
    for name, value in facts.items():
        shown = megabytes(value) if name.endswith("_bytes") and value is not None else value
        text = "" if name in hidden else f"  {name.replace('_bytes', ''):<20} {shown}"
        output.emit("fact", text, step="preflight", name=name, value=value)
    for warning in _warnings(session, facts):
        output.emit("log", "  note: " + warning, step="preflight", line=warning)
    output.emit("done", step="preflight", result="ready")
    return facts


def look(session: Session) -> None:
    """Say what machine this is, for a workstation that chooses packages for it. Raises `WrongBoard`."""
    facts = session.family.look(session)
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    lines = [f"  {name:<20} {version}" for name, version in facts["runtimes"].items()]
    session.output.emit(
        "machine",
        "\n".join([f"{session.board.title}, Python {platform.python_version()}", *lines]),
        python=list(sys.version_info[:2]),
        machine=platform.machine(),
        libc=libc,
        title=session.board.title,
        **facts,
    )


def board_facts(session: Session) -> dict[str, Any]:
    """Facts about the board that are recorded with every measurement."""
    board, tool = session.board, session.tool
    return {
        "board": board.title,
        "profile": session.profile.profile,
        "jetpack": board.jetpack,
        "l4t": board.l4t,
        **tool.facts,
        "disk_free_bytes": shutil.disk_usage(str(session.options.root)).free,
        "memory_available_bytes": sensors.memory_available(session.system),
        "power_mode": sensors.power_mode(session.system),
        "clocks": sensors.clocks(session.system),
        "packages": dict(board.packages),
    }


def install(session: Session) -> None:
    """Copy the bundle under --dir, whole or not at all. If it is installed already, only check it."""
    output, bundle, release = session.output, session.bundle, session.release
    output.step("install", str(release))
    if bundle.root.resolve() == release.resolve() or is_installed(session, (bundle.root / BUNDLE).read_bytes()):
        check_files(bundle)
        output.emit("done", "  nothing to do: it is installed, and whole", step="install", result="unchanged")
        return
    with session.layout.scratch(session.layout.releases) as work:
        copied: dict[str, Path] = {}
        for file in bundle.files:
            path = work / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.sha256 not in copied or not link(copied[file.sha256], path):
                _copy(bundle.root / file.path, path, file)
            copied[file.sha256] = path
        if not (work / BUNDLE).exists():
            _copy(bundle.root / BUNDLE, work / BUNDLE, None)
        publish_folder(work, release)
    total = sum(file.size_bytes for file in bundle.files)
    output.emit("done", f"  copied {len(bundle.files)} files, {megabytes(total)}", step="install", result="copied")


def is_installed(session: Session, document: bytes) -> bool:
    """Whether the release holds exactly this bundle, whole. `document` is its bundle.json."""
    release, files = session.release, session.bundle.files
    try:
        if (release / BUNDLE).read_bytes() != document:
            return False
        return all(is_plain_file(release / file.path) and sha256_of(release / file.path) == file.sha256 for file in files)
    except OSError:
        return False


def _copy(source: Path, destination: Path, file: File | None) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    if is_plain_file(source):
        shutil.copyfile(str(source), str(destination))
        if source.suffix == ".pyz":
            destination.chmod(0o755)
        if file is None or sha256_of(destination) == file.sha256:
            return
    raise damaged([f"{source} is missing, not a regular file, or has other content than when it was built"])


def check_room(session: Session, copy: int | None = None) -> None:
    """Raises `DiskFull` if there is not enough free space, and another error if nothing can be written. `copy`: how many bytes of
    the bundle are still to be copied, by default all unless it is installed."""
    installed = session.release.is_dir()
    if copy is None:
        distinct = {file.sha256: file.size_bytes for file in session.bundle.files}
        copy = 0 if installed else sum(distinct.values())
    missing = [variant for variant in session.usable_variants() if not (installed and session.engine(variant).built)]
    engines = sum(variant.size_bytes for variant in missing)
    require_room(session, copy + engines + (_MARGIN_BYTES if engines else 0))


def require_room(session: Session, needed: int) -> None:
    """Raises `DiskFull` unless so many bytes are free under --dir, and another error if nothing can be written there."""
    root = session.options.root
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=str(root)) as file:
            file.write(b"edgec")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise from_os_error(error) from error
    free = shutil.disk_usage(str(root)).free
    if free < needed:
        raise DiskFull(
            "There is not enough room on the disk.",
            evidence=[f"{megabytes(free)} free under {root}, {megabytes(needed)} needed"],
            remedy="free some space (`status` lists unused engines), or choose another disk with --dir",
        )


def _warnings(session: Session, facts: dict[str, Any]) -> list[str]:
    state, on_cpu = throttling(session.system), session.family.on_cpu
    warnings = session.doubts() + sensors.caveats(facts["power_mode"], facts["clocks"], [], on_cpu=on_cpu) + history(state)
    if state.now:
        warnings.append(f"The board is slowed down at this moment: {'; '.join(state.now)}.")
    memory = facts["memory_available_bytes"]
    if not session.options.here:
        warnings += session.family.warnings(session)
    if memory is not None and memory < _LITTLE_MEMORY_BYTES:
        warnings.append(f"Only {megabytes(memory)} of memory are free: stop the desktop if building fails.")
    return warnings
