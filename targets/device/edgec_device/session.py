"""What every step works with: the bundle, the board, its tool, and where files are under --dir.

ROOT/.lock                           held by the run that is at work
ROOT/trust/                          keys: see keys.py
ROOT/update.json                     the update that is under way, and what was active before: see updating.py
ROOT/NAME/releases/KEY/              a bundle as it was installed; never changed
ROOT/NAME/incoming/                  a bundle that is being received; kept when that is interrupted
ROOT/NAME/engines/VARIANT-KEY/       the engine's files, engine.json, bundle.json; then verify.json, bench.json
ROOT/NAME/timing-caches/             what a tool keeps from one engine for the next
ROOT/NAME/current                    link to the active engine's folder: the robot loads the engine there
ROOT/NAME/history.json               what was activated, in this order, and why
ROOT/NAME/problems.json              by variant, why the last attempt failed
ROOT/NAME/measurements.json          the latest, of which edgec on the workstation makes a report
ROOT/NAME/logs/, work/               what the tool printed; scratch files
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Iterator

from edgec_onboard.errors import ArtefactError
from edgec_onboard.files import SCRATCH, is_plain_file, sha256_of
from edgec_onboard.measurements import NAME, grade
from edgec_onboard.trust import Released

from edgec_device import evidence
from edgec_device.board import Board
from edgec_device.bundle import BoardProfile, Bundle, Variant, combined
from edgec_device.errors import NoRuntime
from edgec_device.files import read_json, read_record, remove, sweep, write_json, write_record
from edgec_device.keys import Keys
from edgec_device.output import Output
from edgec_device.system import System
from edgec_device.tool import Family, Tool

_NUMBER = (int, float)
_PLAN = "engine.plan"
_RECORDS: dict[str, dict[str, Any]] = {
    "engine": {
        "sha256": str,
        "size_bytes": int,
        "flags": list,
    },
    "verify": {"passed": bool, "problems": list, "evidence": str, "figures": (dict, type(None)), "frames": int},
    "bench": {
        **dict.fromkeys(("min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms", "mean_ms"), _NUMBER),
        **dict.fromkeys(("samples_ms", "rounds", "flags", "caveats", "throttled"), list),
        "iterations": int,
        "evidence": str,
    },
}
"""The members that each kind of record must have, with their types."""


@dataclass(frozen=True)
class Options:
    """The command line's options. `variants` is empty for all of them; `again` repeats finished work; `here` accepts this machine
    instead of one of the bundle's boards; `allow_older` accepts a signed release that is older than the active one, or another
    product's."""

    root: Path
    tool: str | None = None
    patience: float = 900.0
    wait: bool = True
    variants: tuple[str, ...] = ()
    again: bool = False
    seconds: float = 10.0
    iterations: int = 200
    here: bool = False
    allow_older: bool = False


class Layout:
    """The paths under ROOT/NAME: see the top of this file."""

    def __init__(self, root: Path, name: str) -> None:
        self.home = root / name
        self.releases = self.home / "releases"
        self.incoming = self.home / "incoming"
        self.engines = self.home / "engines"
        self.timing_caches = self.home / "timing-caches"
        self.current = self.home / "current"
        self.history = self.home / "history.json"
        self.problems = self.home / "problems.json"
        self.measurements = self.home / NAME
        self.outdated = [self.home / "report.json", self.home / "details.json"]
        """What older programs wrote instead; `edgec build --engine` still writes a report there."""
        self.logs = self.home / "logs"
        self.work = self.home / "work"

    def clean(self) -> None:
        """Remove what dead runs left. The caller must hold the lock."""
        sweep(self.home, self.releases, self.engines, self.timing_caches, self.work)

    @contextmanager
    def scratch(self, parent: Path) -> Iterator[Path]:
        """A new folder that is removed at the end, unless it was renamed."""
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=str(parent)))
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            remove(folder)


class Session:
    """One run of the program. Call `identify` before anything that needs the board or its tool."""

    board: Board
    profile: BoardProfile
    tool: Tool

    def __init__(
        self, options: Options, bundle: Bundle, system: System, output: Output, family: Family, keys: Keys | None = None
    ) -> None:
        self.options, self.bundle, self.system, self.output, self.family = options, bundle, system, output, family
        self.keys = keys or Keys()
        self.released: Released | None = None
        """What was checked of the release's signature; None if this board has no key."""
        self.foreign = ""
        """Why this machine is none of the bundle's boards, though it runs what they run; empty if it is one. Set by the
        family."""
        self.layout = Layout(options.root, bundle.name)
        self._identified = False

    def identify(self) -> None:
        """Find out board and tool, once, and check that the bundle is for them. Raises `WrongBoard` or `NoRuntime`."""
        if self._identified:
            return
        self.family.identify(self)
        if not self.usable_variants():
            needs = {variant.name: self.tool.refuses(variant, self.profile) for variant in self.bundle.variants}
            raise NoRuntime(
                f"This bundle cannot be used with {self.tool.title} on {self.tool.processor}.",
                evidence=[f"{name} needs {need}" for name, need in needs.items() if need],
                remedy=self.family.remedy,
            )
        self._identified = True

    def usable_variants(self) -> list[Variant]:
        """The variants that this tool can use here, in the bundle's order; of those named with --variant, if any are."""
        chosen = self.options.variants
        return [
            variant
            for variant in self.bundle.variants
            if variant.name in (chosen or [variant.name]) and not self.tool.refuses(variant, self.profile)
        ]

    @property
    def release(self) -> Path:
        """Where the bundle is, or will be, installed."""
        return self.layout.releases / self.bundle.key

    def require_release(self) -> Path:
        """Where the bundle is installed. Raises `ArtefactError` if it is not."""
        if not self.release.is_dir():
            raise ArtefactError(
                "This bundle is not installed.",
                evidence=[f"{self.release} is missing"],
                remedy="run `install` first, or `run-all`",
            )
        return self.release

    def doubts(self) -> list[str]:
        """As `evidence.doubts`, for this run."""
        return evidence.doubts(self.system, self.tool)

    def grade(self, doubts: list[str]) -> str:
        """The evidence of a figure with these doubts."""
        return grade(doubts, is_target=self.is_target)

    @property
    def is_target(self) -> bool:
        """Whether it is one of the bundle's boards."""
        return not (self.options.here or self.foreign)

    def engine(self, variant: Variant) -> Engine:
        """The engine of this variant for this machine and its runtime, whether it is built or not."""
        tool, flags = self.tool, self.tool.flags(variant, self.release)
        identity = [sorted(tool.identity(variant).items()), variant.sha256, flags]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
        return Engine(self.layout.engines / f"{variant.name}-{key}", variant, tuple(flags))

    def problems(self) -> dict[str, dict[str, str]]:
        """For each variant of this bundle that failed last, the `step` and `what` went wrong."""
        recorded = read_json(self.layout.problems) or {}
        key = self.bundle.build_key
        return {
            name: problem
            for name, problem in recorded.items()
            if isinstance(problem, dict)
            and all(isinstance(problem.get(field), str) for field in ("step", "what"))
            and problem.get("build_key") == key
        }

    def remember_problem(self, variant: str, step: str, what: str | None) -> None:
        """Record for `status` why a variant failed; None if it no longer does. Problems of other bundles are removed."""
        problems = self.problems()
        if what is not None:
            problems[variant] = {"step": step, "what": what, "build_key": self.bundle.build_key}
        elif problems.pop(variant, None) is None:
            return
        write_json(self.layout.problems, problems)


@dataclass(frozen=True)
class Engine:
    """An engine's folder. It exists only if the engine in it is whole."""

    folder: Path
    variant: Variant
    flags: tuple[str, ...]

    @property
    def file(self) -> Path:
        """The file, or the folder of files, that a robot loads."""
        return self.folder / loaded(self.folder)

    @property
    def built(self) -> bool:
        """Whether it is built. Its content is not checked."""
        return has_files(self.folder) and "sha256" in self.facts

    @property
    def whole(self) -> bool:
        """Whether it is built, and its content has not changed. Reads all of its files."""
        return self.built and content_of(self.folder) == self.facts["sha256"]

    @property
    def facts(self) -> dict[str, Any]:
        """engine.json; empty if the engine is not built."""
        return read_sound(self.folder, "engine") or {}

    def record(self, name: str) -> dict[str, Any] | None:
        """verify.json or bench.json, if it is about this engine's file."""
        record = read_sound(self.folder, name)
        return record if record is not None and record.get("engine_sha256") == self.facts.get("sha256") else None

    def verified(self, bundle: Bundle) -> dict[str, Any] | None:
        """verify.json, if it was verified against this bundle's golden outputs, gate, budget and bounds. Its `passed` says
        whether it passed."""
        record = self.record("verify")
        if record is None or record.get("golden_sha256") != bundle.golden_sha256 or record.get("gate") != dict(bundle.gate):
            return None
        if record.get("bounds", {}) != self.variant.bounds or record.get("budget", {}) != bundle.budget:
            return None
        return {"tasks": [], **record}

    def forget(self, name: str) -> None:
        """Remove verify.json or bench.json."""
        remove(self.folder / (name + ".json"))

    def keep(self, name: str, record: dict[str, Any]) -> None:
        """Write verify.json or bench.json about this engine's file."""
        write_record(self.folder / (name + ".json"), {**record, "engine_sha256": self.facts["sha256"]})


def read_sound(folder: Path, name: str) -> dict[str, Any] | None:
    """engine.json, verify.json or bench.json of an engine's folder; None if it is damaged or lacks a member."""
    record = read_record(folder / (name + ".json"))
    complete = record is not None and all(isinstance(record.get(key), kind) for key, kind in _RECORDS[name].items())
    return record if complete else None


def loaded(folder: Path) -> str:
    """The name of the file, or of the folder of files, that a robot loads from an engine's folder."""
    return PurePosixPath(_files(folder)[0]).parts[0]


def has_files(folder: Path) -> bool:
    """Whether the folder holds all files of an engine. Links do not count."""
    names = _files(folder)
    inner = {parent for name in names for parent in PurePosixPath(name).parents}  # `.` among them: the folder itself
    return not any((folder / parent).is_symlink() for parent in inner) and all(is_plain_file(folder / name) for name in names)


def content_of(folder: Path) -> str:
    """The hash of an engine's files, all of which are there. Reads them whole. Raises `OSError`."""
    return combined([sha256_of(folder / name) for name in _files(folder)])


def size_of(folder: Path) -> int:
    """The bytes of an engine's files, all of which are there. Raises `OSError`."""
    return sum((folder / name).stat().st_size for name in _files(folder))


def _files(folder: Path) -> list[str]:
    """The paths of an engine's files in its folder, by engine.json: in a folder without a sound one, and in those of older
    programs, a plan."""
    facts = read_sound(folder, "engine") or {}
    names = facts.get("files")
    if isinstance(names, list) and names and all(map(_is_inside, names)):
        return names
    return [_PLAN]


def _is_inside(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    path = PurePosixPath(name)
    return str(path) == name and bool(path.parts) and not path.is_absolute() and ".." not in path.parts
