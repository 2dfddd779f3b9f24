"""Results of a build's stages on disk, by what they depend on.

    <root>/stages-1/<stage>/<key>/index.json   sizes and hashes of the files, sealed (`edgec.onboard.seal`)
                                  content/     what the stage wrote
    <root>/work/                               entries that are being written (see `edgec.durable`)

Every file is hashed when a process first uses an entry, and again if it has changed since. An entry is renamed into place when it
is whole and flushed, and never written to again. Two processes may write the same entry at the same time: the first to finish
wins, and both continue. Nothing here waits for another process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
import stat
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import platformdirs

from edgec.durable import (
    IN_THE_WAY,
    disk_is_full,
    is_still,
    replace_directory,
    scratch,
    sha256_of,
    sweep,
    sync,
    sync_tree,
    try_lock,
)
from edgec.errors import EdgecError, RequestError
from edgec.onboard.seal import is_whole, sealed
from edgec.paths import usable_path
from edgec.untrusted import Refused, parse_json_object, read_bytes

LAYOUT = "stages-1"
DEFAULT_LIMIT_GB = 10.0
INDEX_LIMIT_BYTES = 1 << 24

_used: set[Path] = set()
"""Entries that this process uses: never evicted, whichever `Cache` returned them."""
_hashed: dict[Path, tuple[Any, ...]] = {}
"""For each file that this process hashed, the file system's facts at that moment, and the SHA-256."""


def cache_root() -> Path:
    """`$EDGEC_CACHE_DIR`, or the user's cache folder. It need not exist. Raises `RequestError` for an unusable path."""
    chosen = os.environ.get("EDGEC_CACHE_DIR")
    return usable_path(chosen, "EDGEC_CACHE_DIR").absolute() if chosen else Path(platformdirs.user_cache_dir("edgec"))


def cache_size() -> int:
    """Bytes of all files below `cache_root()`."""
    return _size(cache_root())


def key(*parts: Any) -> str:
    """SHA-256, in hex, over the canonical JSON of the parts, which may be JSON's types, dataclasses, Enums and Paths.

    A dataclass counts by its name and the fields that its `==` compares. Raises `TypeError` or `ValueError` for a value that has
    no canonical form (a set, NaN, a dict whose keys are not strings).
    """
    text = json.dumps([_canonical(part) for part in parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True)
class Entry:
    """One stage's result on disk. `used_ns`: when it was last used, in ns since 1970."""

    path: Path
    stage: str
    size_bytes: int
    used_ns: int


class Cache:
    """The stage results below `root`, kept under `limit_bytes` by evicting those that were used longest ago.

    By default `cache_root()` and `$EDGEC_CACHE_LIMIT_GB` (10). Entries in use, by this process or by another, are never evicted.
    `note` is called with a sentence for each entry that was damaged.
    """

    def __init__(
        self, root: Path | None = None, *, limit_bytes: int | None = None, note: Callable[[str], None] = lambda text: None
    ) -> None:
        self.root = root or cache_root()
        self.limit_bytes = default_limit() if limit_bytes is None else limit_bytes
        self._work = self.root / "work"
        self._swept = False
        self._note = note
        self._held: dict[Path, int] = {}
        self._digests: dict[Path, dict[str, str]] = {}
        weakref.finalize(self, _close, self._held)

    def stage(self, name: str, key: str, produce: Callable[[Path], None]) -> Path:
        """The directory that `produce` filled for this key, now or earlier. Nobody may write to it.

        `produce` runs only if there is no whole entry: a damaged one (a file missing, unknown, or with another hash) is made
        again. Raises `EdgecError` if the cache cannot be written or its disk is full; errors of `produce` pass through.
        """
        entry = self.root / LAYOUT / name / key
        if not self._swept:
            with suppress(OSError):
                sweep(self._work)
            self._swept = True
        if not self._take(entry):
            with ExitStack() as stack:
                with self._refusals(name):
                    for folder in (self.root, self.root / LAYOUT, entry.parent, self._work):
                        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    work = stack.enter_context(scratch(self._work, mode=0o700))
                    content = work / "content"
                    content.mkdir()  # with the usual mode, which copies keep; the folders above are closed to others
                self._produce(produce, content, name)
                with self._refusals(name):
                    digests = _write_index(work)
                    sync_tree(work)
                    self._publish(work, entry, digests)
                    sync(entry.parent)
            self.prune()
        return entry / "content"

    def _take(self, entry: Path, *, note: bool = True) -> bool:
        """Whether the entry exists and is whole. If so, no process evicts it from now on while this `Cache` lives."""
        try:
            descriptor = os.open(entry / "index.json", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        # A shared lock is refused only while someone evicts the entry.
        if try_lock(descriptor, shared=True) is False or not is_still(descriptor, entry / "index.json"):
            os.close(descriptor)
            return False
        digests = _read_whole(entry)
        if digests is None:
            os.close(descriptor)
            if note:
                self._note(f"A cached result was damaged and is made again: {entry.parent.name}, in {self.root}.")
            return False
        self._digests[entry] = digests
        self._hold(entry, descriptor)
        with suppress(OSError):
            os.utime(entry)
        return True

    def digests(self, content: Path) -> Mapping[str, str]:
        """SHA-256 by path of all files in a directory that `stage` of this `Cache` returned, as the stage wrote them."""
        return self._digests[content.parent]

    def _hold(self, entry: Path, descriptor: int) -> None:
        previous = self._held.pop(entry, None)
        if previous is not None:
            os.close(previous)
        self._held[entry] = descriptor
        _used.add(entry)

    def _produce(self, produce: Callable[[Path], None], content: Path, name: str) -> None:
        try:
            produce(content)
        except EdgecError:
            raise
        except Exception as error:
            if disk_is_full(error, content):
                raise self._full(name, error) from error
            raise

    def _publish(self, work: Path, entry: Path, digests: dict[str, str]) -> None:
        while True:
            # Locked before it becomes visible, so that no other process can evict it in between.
            descriptor = os.open(work / "index.json", os.O_RDONLY | os.O_CLOEXEC)
            try_lock(descriptor, shared=True)
            try:
                work.rename(entry)
            except OSError as error:
                if error.errno not in IN_THE_WAY:
                    os.close(descriptor)
                    raise
                if self._take(entry, note=False):
                    os.close(descriptor)
                    return
                try:
                    replace_directory(work, entry)
                except FileNotFoundError:  # the damaged entry was removed meanwhile
                    os.close(descriptor)
                    continue
            self._digests[entry] = digests
            self._hold(entry, descriptor)
            return

    def entries(self) -> list[Entry]:
        """All of them, the one that was used longest ago first."""
        found = []
        now = time.time_ns()
        for path in (self.root / LAYOUT).glob("*/*"):
            with suppress(OSError):
                used = path.stat().st_mtime_ns
                if used > now:
                    # The clock was ahead then, or is behind now: from here on the entry ages as others do.
                    os.utime(path)
                    used = now
                found.append(Entry(path, path.parent.name, _size(path), used))
        return sorted(found, key=lambda entry: (entry.used_ns, entry.path))

    def prune(
        self, limit_bytes: int | None = None, *, unused_since_ns: int | None = None, dry_run: bool = False
    ) -> tuple[list[Entry], list[Entry]]:
        """Remove those that were used longest ago until the rest is within `limit_bytes`, by default the cache's own limit; and
        all that were last used before `unused_since_ns`. Returns what was removed, and what would have been if it were not in
        use, by this process or another. With `dry_run` nothing is removed."""
        limit = self.limit_bytes if limit_bytes is None else limit_bytes
        entries, removed, busy = self.entries(), list[Entry](), list[Entry]()
        total = sum(entry.size_bytes for entry in entries)
        for entry in entries:
            old = unused_since_ns is not None and entry.used_ns < unused_since_ns
            if total <= limit and not old:
                break  # the others were used later still
            if entry.path not in _used and self._remove(entry.path, dry_run=dry_run):
                removed.append(entry)
                total -= entry.size_bytes
            else:
                busy.append(entry)
        return removed, busy

    def _remove(self, entry: Path, *, dry_run: bool = False) -> bool:
        """Whether the entry is gone, or could be; False if somebody uses it."""
        try:
            descriptor = os.open(entry / "index.json", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            descriptor = None
        try:
            if descriptor is not None and (try_lock(descriptor) is False or not is_still(descriptor, entry / "index.json")):
                return False
            if dry_run:
                return True
            with scratch(self._work, mode=0o700) as work:
                entry.rename(work / "evicted")
        except OSError:
            return False
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return True

    @contextmanager
    def _refusals(self, name: str) -> Iterator[None]:
        """Around work on the cache's own files: explains what the operating system refuses."""
        try:
            yield
        except OSError as error:
            if disk_is_full(error, self.root):
                raise self._full(name, error) from error
            raise EdgecError(
                f"The cache at {self.root} cannot be written.",
                evidence=(f"stage {name}: {error}",),
                remedy="set EDGEC_CACHE_DIR to a directory that you may write to",
            ) from error

    def _full(self, name: str, error: Exception) -> EdgecError:
        try:
            free = f"{shutil.disk_usage(self.root).free / 1e6:.1f} MB free there"
        except OSError:
            free = "free space unknown"
        return EdgecError(
            "The disk is full: a stage's result could not be written. No part of it was kept.",
            evidence=(f"stage {name}: {error}", f"cache at {self.root}, {free}"),
            remedy="free some space (`edgec cache prune`), or set EDGEC_CACHE_DIR to a directory on a larger disk",
        )


def default_limit() -> int:
    """`$EDGEC_CACHE_LIMIT_GB`, or 10 GB. Raises `RequestError` if it is set to what is no size."""
    text = os.environ.get("EDGEC_CACHE_LIMIT_GB") or str(DEFAULT_LIMIT_GB)
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise RequestError(
            f"EDGEC_CACHE_LIMIT_GB is {text!r}, which is not a size.",
            remedy=f"set it to a number of gigabytes, or unset it for {DEFAULT_LIMIT_GB:g}",
        )
    return int(gigabytes * 1e9)


def _canonical(value: Any) -> Any:
    if isinstance(value, Enum):
        return {type(value).__qualname__: _canonical(value.value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _canonical(getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare}
        return {type(value).__qualname__: fields}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("a cache key's dict needs strings for keys")
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    return value


def _write_index(work: Path) -> dict[str, str]:
    files = {name: (path.stat().st_size, sha256_of(path)) for name, path in _files(work / "content").items()}
    # The object always has a member: an empty one cannot be sealed.
    (work / "index.json").write_text(sealed(json.dumps({"files": files}, indent=1)), encoding="ascii")
    return {name: sha256 for name, (_, sha256) in files.items()}


def _read_whole(entry: Path) -> dict[str, str] | None:
    """The hashes of its files; None unless exactly those that were written are there, unchanged."""
    content = entry / "content"
    try:
        index = read_bytes(entry / "index.json", INDEX_LIMIT_BYTES)
        if not is_whole(index) or not content.is_dir():
            return None
        files, present = parse_json_object(index)["files"], _files(content)
        whole = files.keys() == present.keys() and all(_is(present[name], *facts) for name, facts in files.items())
    except (OSError, Refused, TypeError, AttributeError, KeyError):
        return None
    return {name: sha256 for name, (_, sha256) in files.items()} if whole else None


def _files(content: Path) -> dict[str, Path]:
    return {path.relative_to(content).as_posix(): path for path in sorted(content.rglob("*")) if not path.is_dir()}


def _is(path: Path, size: int, sha256: str) -> bool:
    status = path.stat()
    if status.st_size != size or not stat.S_ISREG(status.st_mode):
        return False
    # A change of the content changes the last of these, which no program can set.
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if _hashed.get(path) != (*facts, sha256):
        if sha256_of(path) != sha256:
            return False
        _hashed[path] = (*facts, sha256)
    return True


def _size(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += Path(folder, name).lstat().st_size
    return total


def _close(descriptors: dict[Path, int]) -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])
