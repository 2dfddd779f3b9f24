"""Cells on the workers of a running dask.distributed scheduler: `dask://HOST:PORT`.

The sweep's folder and all inputs must have the same paths on every worker, and all workers must be of one kind, with this very
edgec: then a cell's build key, and with it the artefact, is the same wherever it is built. Each worker builds one cell at a time,
unless `--jobs` asks for more; `edgec.sweep.turns` keeps measurements apart on each machine. dask connects, places, hands on what
a dead worker had, and carries results. A cell is a process of its own even so: dask cannot end a task that runs.
"""

from __future__ import annotations

import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edgec import __version__, extras
from edgec.dependencies import source
from edgec.errors import ArtefactError, BoardError, RequestError
from edgec.records.reading import printable
from edgec.sweep.child import LOGS, Outcome, Stopped, outcome_from, request_as_json
from edgec.sweep.matrix import Cell
from edgec.sweep.probe import build_cell, probe, tools
from edgec.untrusted import Refused

SCHEME = "dask://"
_CONNECT_S = 10.0
_POLL_S = 0.3
_SHOWN, _WIDTH = 8, 300


class _Probed(BaseModel):
    """What `edgec.sweep.probe.probe` answers."""

    model_config = ConfigDict(strict=True)

    shared: bool
    refusal: str
    missing: list[str]
    edgec: str
    code: str
    tools: dict[str, str]
    machine: dict[str, Any]


def address_of(scheduler: str) -> str:
    """Where dask listens, from what the user typed. Raises `RequestError`."""
    host, _, port = scheduler.removeprefix(SCHEME).rpartition(":")
    if not scheduler.startswith(SCHEME) or not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise RequestError(
            f"{printable(scheduler)!r} is not a scheduler's address.",
            remedy=f"give {SCHEME}HOST:PORT, as `dask scheduler` prints it",
        )
    return f"tcp://{host}:{port}"


@contextmanager
def workers_of(scheduler: str, jobs: int | None, folder: Path, cells: Sequence[Cell]) -> Iterator[Workers]:
    """The scheduler's workers, each checked to be able to build these cells; `folder` exists and is absolute.

    Raises `RequestError` for what is no address, and with what workers lack; `MissingPackage` where distributed is not installed;
    `BoardError` if the scheduler cannot be reached.
    """
    address = address_of(scheduler)
    with extras.named("distributed"):
        import distributed
        from distributed.comm.addressing import get_address_host_port
    for name in ("distributed", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is raised as an error
    try:
        # Fails at once where nothing listens: distributed would go on trying.
        socket.create_connection(get_address_host_port(address), timeout=_CONNECT_S).close()
        client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise _unreachable(scheduler, error) from error
    try:
        addresses = _check_workers(client, scheduler, folder, cells)
        yield Workers(client, scheduler, addresses, jobs or len(addresses))
    finally:
        with suppress(OSError, TimeoutError):
            client.close(timeout=_CONNECT_S)


class Workers:
    """A `Runner`. Slots are spread over the workers; one that is gone hands its cells to the others."""

    def __init__(self, client: Any, scheduler: str, addresses: Sequence[str], slots: int) -> None:
        self.slots = slots
        self._client, self._scheduler, self._addresses = client, scheduler, addresses

    def run(self, cell: Cell, slot: int, still_wanted: Callable[[], bool], on_stage: Callable[[str], None]) -> Outcome:
        """On the slot's worker, or on another one if that is gone. What dask loses is an outcome, with the exit code of
        `BoardError`."""
        worker = self._addresses[slot % len(self._addresses)]
        on_stage(f"on {worker}")
        future = self._client.submit(
            build_cell,
            request_as_json(cell.request),
            key=f"edgec-{cell.name}-{secrets.token_hex(8)}",
            workers=[worker],
            allow_other_workers=True,
            pure=False,
        )
        try:
            while not future.done():
                if not still_wanted():
                    raise Stopped
                time.sleep(_POLL_S)
            if not still_wanted():
                raise Stopped
            answer = future.result(timeout=_CONNECT_S)
        except Stopped:
            with suppress(Exception):
                future.cancel(force=True)
            raise
        except Exception as error:  # of dask, the connection or the worker's process: in each case the cell is lost
            text = printable(f"{self._scheduler} lost the cell: {type(error).__name__}: {error}")
            return Outcome(exit_code=BoardError.exit_code, error=text[:300])
        if not answer:
            return Outcome(exit_code=BoardError.exit_code, error=f"{printable(self._scheduler)} gave up on the cell")
        try:
            return outcome_from(answer)
        except Refused as error:
            return Outcome(
                exit_code=BoardError.exit_code, error=f"what {printable(self._scheduler)} sent {printable(str(error))}"[:300]
            )


def _check_workers(client: Any, scheduler: str, folder: Path, cells: Sequence[Cell]) -> list[str]:
    """The workers' addresses."""
    inputs = sorted({path for cell in cells for path in cell.paths if Path(path).exists()})
    token, content = f"{LOGS}/.{secrets.token_hex(8)}", secrets.token_hex(16)
    try:
        (folder / token).write_text(content, encoding="utf-8")
    except OSError as error:
        raise ArtefactError(
            f"{folder} cannot be written.", evidence=str(error), remedy="choose another folder with -o"
        ) from error
    try:
        answers = client.run(probe, str(folder), token, content, inputs, on_error="return")
    except Exception as error:
        raise _unreachable(scheduler, error) from error
    finally:
        (folder / token).unlink(missing_ok=True)
    if not answers:
        raise RequestError(
            f"The scheduler at {printable(scheduler)} has no workers.",
            remedy=f"start one where edgec is installed: dask worker {scheduler.removeprefix(SCHEME)}",
        )
    problems = [
        f"{address}: {problem}" for address, each in sorted(answers.items()) for problem in _worker_problems(each, folder)
    ]
    problems = problems or list(_differences(answers))
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise RequestError(
            f"Workers of {printable(scheduler)} cannot build these cells as this machine would.",
            evidence=[*map(printable, problems[:_SHOWN]), *more],
            remedy="give every worker this edgec, the same tools, and the folder and inputs at the same paths; sweep workers of "
            "another kind by themselves",
        )
    return sorted(answers)


def _worker_problems(answer: Any, folder: Path) -> Iterator[str]:
    if isinstance(answer, BaseException):
        yield f"this edgec does not run there: {type(answer).__name__}: {answer}"[:_WIDTH]
        return
    try:
        _Probed.model_validate(answer)
    except ValidationError as error:
        yield f"another edgec answers there: {error.errors(include_url=False, include_input=False)[0]['loc']}"[:_WIDTH]
        return
    if answer["edgec"] != __version__:
        yield f"edgec {answer['edgec']}, here {__version__}"
    elif answer["code"] != source():
        yield f"edgec {__version__} with other source ({answer['code'][:12]}, here {source()[:12]})"
    local = tools()
    for name, version in answer["tools"].items():
        if version != local.get(name):
            yield f"{name} {version}, here {local.get(name, 'none')}"
    if not answer["shared"]:
        yield f"{folder} is not there, or is another folder"
    elif answer["refusal"]:
        yield f"{folder} cannot be written: {answer['refusal']}"
    for path in answer["missing"]:
        yield f"{path} is not there"


def _differences(answers: Mapping[str, Any]) -> Iterator[str]:
    """Workers whose machines differ: latencies would not be comparable, and a repeated sweep would build again elsewhere."""
    (first, reference), *others = sorted(answers.items())
    for address, answer in others:
        for name, value in answer["machine"].items():
            if value != reference["machine"].get(name):
                yield f"{address}: {name.replace('_', ' ')} {value}; {first}: {reference['machine'].get(name)}"


def _unreachable(scheduler: str, error: BaseException) -> BoardError:
    return BoardError(
        f"The scheduler at {printable(scheduler)} cannot be reached.",
        evidence=printable(f"{type(error).__name__}: {error}")[:300],
        remedy="start it with `dask scheduler`, and give the host and port that it prints",
    )
