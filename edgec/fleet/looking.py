"""What is active on a board, asked without an artefact: the answer of targets/device/edgec_device/overview.py."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgec.backends.program import BoardProgram
from edgec.backends.registry import all_backends
from edgec.boards.commands import Board
from edgec.boards.running import Command, run
from edgec.boards.ssh_errors import misbehaves
from edgec.errors import NothingToDo
from edgec.resources import room

SILENCE_S = 120.0
"""Nobody waits longer for a row of a table. A board reads its engine meanwhile, which takes some seconds."""

Text = Annotated[str, Field(max_length=4096)]
Size = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Answer(BaseModel):
    """Newer programs may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Released(_Answer):
    """The signed release, and by whom."""

    name: Text
    version: Text
    serial: Size
    signer: Text = ""


class Previous(_Answer):
    """What was active before."""

    engine: Text
    variant: Text = ""
    build_key: Text | None = None
    release: Released | None = None
    state: Text = ""


class Active(_Answer):
    """What is active under one name; None where nothing is. Latencies are milliseconds. `state` is whether it is as it was
    verified: `verified`, `changed` or `unknown`. `family` is that of the release's program; None where the release is gone."""

    name: Text
    engine: Text | None = None
    variant: Text | None = None
    build_key: Text | None = None
    time: Text | None = None
    reason: Text | None = None
    release: Released | None = None
    runtime: Text | None = None
    state: Text | None = None
    evidence: tuple[Text, ...] = Field(default=(), max_length=100)
    passed: bool | None = None
    frames: Size | None = None
    verified: Text | None = None
    p50_ms: Number | None = None
    p90_ms: Number | None = None
    p99_ms: Number | None = None
    measured: Text | None = None
    throttled: tuple[Text, ...] = Field(default=(), max_length=100)
    drift: Number | None = None
    """How the latency now stands to the one that was measured, where a board says it."""
    family: Text | None = None
    previous: Previous | None = None

    @property
    def says(self) -> str:
        """The release for people: its name and version, or the artefact's name and the beginning of its build key."""
        if self.release is not None:
            return f"{self.release.name} {self.release.version}"
        return self.name if self.build_key is None else f"{self.name} {self.build_key[:8]}"


class Overview(_Answer):
    """Of one board."""

    root: Text
    disk_free_bytes: Size
    disk_bytes: Size
    update_open: bool = False
    active: tuple[Active, ...] = Field(default=(), max_length=1000)

    def named(self, name: str) -> Active | None:
        """What was activated under this name; None if nothing ever was."""
        return next((each for each in self.active if each.name == name), None)


def look(board: Board) -> Overview:
    """Raises `BoardError` if the board is lost or answers with something else."""
    root = [] if board.directory is None else ["--dir", board.directory]
    command = Command(_program(), ["--json", *root], b"")
    result = run(board.connection, command, board.listener, board.stop, SILENCE_S)
    if result.refusal is not None:
        raise result.refusal
    try:
        return Overview.model_validate(result.events["overview"])
    except (KeyError, ValidationError) as error:
        what = "it does not say what is active" if isinstance(error, KeyError) else f"{error.error_count()} values are wrong"
        raise misbehaves(board.connection.address, [what]) from error


def roll_back(board: Board, root: str, active: Active) -> str:
    """Go back to what was active before `active`, by the program of the board's family; returns what that says. Raises the error
    that it ended with, and `NothingToDo` if the board no longer has the release that is active."""
    backend = None if active.family is None else all_backends().get(active.family)
    if backend is None or backend.program is None:
        raise NothingToDo(
            f"{active.name} cannot be rolled back there.",
            evidence="its release is gone" if active.family is None else f"no program for {active.family} is installed here",
            remedy="deploy the release that you want again",
        )
    arguments = ["rollback", "--json", "--name", active.name, "--dir", root]
    result = run(board.connection, Command(backend.program.archive(), arguments, b""), board.listener, board.stop)
    if result.refusal is not None:
        raise result.refusal
    return str(result.events.get("done", {}).get("text", "")).strip()


@cache
def _program() -> bytes:
    """The archive, compressed: it goes to every board each time. Raises `EdgecError` if it is missing from this installation."""
    program = BoardProgram("", "edgec_device", room("targets") / "device")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in program.sources().items():
            archive.writestr(name, content)
    return buffer.getvalue()
