"""What is known of a rollout: one JSON file, written anew at each step of each board, so that a workstation that was interrupted,
or killed, goes on where it was.

FOLDER/ID.json    the rollout
FOLDER/ID.lock    held by the process that works on it
FOLDER/.lock      held while a rollout is looked for or begun

FOLDER is `$EDGEC_STATE_DIR/rollouts`, or `rollouts` in the user's folder for state (~/.local/state/edgec).
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import platformdirs
from pydantic import Field

import edgec
from edgec.boards.address import Address
from edgec.boards.ssh import SshOptions
from edgec.durable import try_lock, write_whole
from edgec.errors import Busy, EdgecError, RequestError
from edgec.fleet.file import Place
from edgec.onboard.seal import sealed
from edgec.paths import usable_path
from edgec.records.base import Record
from edgec.records.reading import printable, read_record

State = Literal["waiting", "started", "done", "refused", "regressed", "unreachable", "taken back", "stays"]
"""`started`: the workstation was interrupted while it worked on the board. `unreachable` boards are tried again. `stays`: it has
the release and could not be taken back."""
Status = Literal["open", "halted", "taking back", "taken back", "finished", "closed"]
UNFINISHED: frozenset[Status] = frozenset({"open", "halted", "taking back"})


class BundleFacts(Record):
    """Which release it is. `name` is the artefact's on boards; `says` its name and version, where it is signed, for people."""

    path: str
    manifest_sha256: str
    name: str
    build_key: str
    says: str


class BoardRecord(Record):
    """One board of a rollout. `before` is the engine that was active before anything was changed, once it was `asked`."""

    name: str
    address: str
    port: int | None = None
    identity: str | None = None
    ssh_options: tuple[str, ...] = ()
    directory: str | None = None
    state: State = "waiting"
    asked: bool = False
    before: str | None = None
    handled: bool = False
    """Whether taking back has come to an end here."""
    ended: str = ""
    """When: UTC, ISO 8601."""
    exit_code: int = 0
    what: str = ""
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    chosen: str = ""
    p50_ms: float | None = Field(default=None, ge=0)
    report: str = ""
    copied_bytes: int = 0
    removed_bytes: int = 0
    regressions: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        """How it is reached."""
        options = SshOptions(None if self.identity is None else Path(self.identity), self.ssh_options)
        return Place(self.name, Address.parse(self.address, self.port), options, self.directory)

    @classmethod
    def of(cls, place: Place) -> BoardRecord:
        """A board to which nothing was done yet."""
        return cls(
            name=place.name,
            address=place.address.text,
            port=place.address.port,
            identity=None if place.options.identity is None else str(place.options.identity.absolute()),
            ssh_options=place.options.options,
            directory=place.directory,
        )


class Rollout(Record):
    """A release on its way to boards. `fleet` is the path of a FLEET.toml; empty where boards were named one by one."""

    sealed_since: ClassVar[int | None] = 1

    schema_version: Literal[1] = 1
    edgec_version: str
    id: str
    created: str
    changed: str
    fleet: str
    bundle: BundleFacts
    wave: str
    halt_at: int = Field(ge=1)
    status: Status = "open"
    boards: dict[str, BoardRecord]
    """By `Place.key`, in the order in which they get it."""

    def count(self, *states: State) -> int:
        """How many boards are in one of these states."""
        return sum(board.state in states for board in self.boards.values())


class Ledger:
    """One rollout, and its file. Safe to use from several threads."""

    def __init__(self, path: Path, rollout: Rollout) -> None:
        self.path, self.rollout = path, rollout
        self._lock = threading.Lock()

    def change(self, key: str, **changes: Any) -> BoardRecord:
        """Write down what became of a board. Raises `EdgecError` if the file cannot be written."""
        with self._lock:
            board = self.rollout.boards[key].model_copy(update={**changes, "ended": now()})
            self._write(boards={**self.rollout.boards, key: board})
        return board

    def set(self, **changes: Any) -> None:
        """Write down what became of the whole. Raises as `change`."""
        with self._lock:
            self._write(**changes)

    def _write(self, **changes: Any) -> None:
        self.rollout = self.rollout.model_copy(update={**changes, "changed": now()})
        try:
            write_whole(self.path, sealed(self.rollout.model_dump_json(indent=1)).encode())
        except OSError as error:
            raise EdgecError(
                f"What became of the rollout could not be written to {self.path}.",
                evidence=str(error),
                remedy="free some space there; the same command then goes on. No further board was begun",
            ) from error


def folder() -> Path:
    """Where rollouts are kept. It need not exist. Raises `RequestError` for an unusable path."""
    chosen = os.environ.get("EDGEC_STATE_DIR")
    root = usable_path(chosen, "EDGEC_STATE_DIR").absolute() if chosen else Path(platformdirs.user_state_dir("edgec"))
    return root / "rollouts"


def all_rollouts() -> list[Rollout]:
    """The oldest first. Raises `ArtefactError` for a file that is damaged."""
    return [read_record(path, Rollout, "rollout") for path in sorted(folder().glob("[!.]*.json"))]


def named(identity: str) -> Rollout:
    """The rollout of that ID. Raises `RequestError` if there is none."""
    known = {rollout.id: rollout for rollout in all_rollouts()}
    if identity not in known:
        raise RequestError(
            f"There is no rollout {printable(identity)[:60]}.",
            evidence=[f"{folder()} has {', '.join(list(known)[-8:]) or 'none'}"],
            remedy="`edgec fleet rollouts` lists them",
        )
    return known[identity]


@contextmanager
def held(rollout: Rollout) -> Iterator[Ledger]:
    """The rollout, for this process alone. Raises `Busy` if another one works on it."""
    with _locked(f"{rollout.id}.lock", f"Another process works on the rollout {rollout.id}."):
        path = folder() / f"{rollout.id}.json"
        yield Ledger(path, read_record(path, Rollout, "rollout") if path.exists() else rollout)


@contextmanager
def begun(bundle: BundleFacts, places: Iterable[Place], fleet: str, wave: str, halt_at: int) -> Iterator[tuple[Ledger, bool]]:
    """The unfinished rollout of this bundle to these boards, and True; or a new one, and False. Boards that are new in the fleet
    are added to it. Raises `Busy` if one of the boards is in an unfinished rollout of another bundle, or a process works on it.
    """
    boards = {place.key: BoardRecord.of(place) for place in places}
    with _locked(".lock", "Another process begins a rollout."):
        unfinished = [each for each in all_rollouts() if each.status in UNFINISHED and set(each.boards) & set(boards)]
        known = (bundle.manifest_sha256, bundle.says)
        same = next((each for each in unfinished if (each.bundle.manifest_sha256, each.bundle.says) == known), None)
        for other in unfinished:
            if other is not same:
                raise _in_the_way(other, boards)
        rollout = same or Rollout(
            edgec_version=edgec.__version__,
            id=f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}",
            created=now(),
            changed=now(),
            fleet=fleet,
            bundle=bundle,
            wave=wave,
            halt_at=halt_at,
            boards=boards,
        )
        holding = held(rollout)
        ledger = holding.__enter__()
        try:
            before = ledger.rollout.boards
            # A board may be reached in another way by now.
            ways = ("name", "address", "port", "identity", "ssh_options", "directory")
            updated = {
                key: before[key].model_copy(update={way: getattr(board, way) for way in ways}) if key in before else board
                for key, board in {**before, **boards}.items()
            }
            ledger.set(boards=updated, wave=wave, halt_at=halt_at)
        except BaseException:
            holding.__exit__(None, None, None)
            raise
    try:
        yield ledger, same is not None
    finally:
        holding.__exit__(None, None, None)


def now() -> str:
    """The time in UTC, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _in_the_way(other: Rollout, boards: dict[str, BoardRecord]) -> Busy:
    shared = [board.name for key, board in other.boards.items() if key in boards]
    return Busy(
        f"A rollout of {other.bundle.says} is not finished: {other.id}, {other.status}.",
        evidence=[
            f"it has {len(shared)} of these boards: {', '.join(shared[:4])}{', …' * (len(shared) > 4)}",
            f"{other.count('done', 'regressed')} of {len(other.boards)} have it, since {other.created}",
        ],
        remedy=f"finish it with its own command; or take it back: edgec fleet rollback --rollout {other.id}; "
        f"or leave boards as they are: edgec fleet close {other.id}",
    )


@contextmanager
def _locked(name: str, taken: str) -> Iterator[None]:
    """Raises `Busy`, or `EdgecError` if nothing can be written there."""
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EdgecError(
            f"Rollouts could not be written down in {place}.",
            evidence=str(error),
            remedy="make it writable, or set EDGEC_STATE_DIR to a folder of yours",
        ) from error
    try:
        if try_lock(descriptor) is False:
            raise Busy(taken, evidence=str(place / name), remedy="wait until it has ended")
        yield
    finally:
        os.close(descriptor)
