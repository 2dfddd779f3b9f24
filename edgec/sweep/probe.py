"""What runs in a scheduler's workers: whether they can do what is asked of them, and a cell."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edgec
from edgec.dependencies import source
from edgec.host import facts as host
from edgec.request import TOOLS
from edgec.sweep.cell import request_of
from edgec.sweep.child import Stopped, run_cell
from edgec.untrusted import Refused, read_bytes

_TOKEN_BYTES = 4096


def probe(folder: str, token: str, content: str, inputs: Sequence[str]) -> dict[str, Any]:
    """What of `inputs` is missing, whether `folder` is the sweep's own (its file `token` says `content`) and can be written, and
    all that a build's key holds of a machine."""
    place = Path(folder)
    try:
        shared = read_bytes(place / token, _TOKEN_BYTES) == content.encode()
    except (OSError, Refused):
        shared = False
    writable = ""
    if shared:
        attempt = place / f"{token}-{secrets.token_hex(4)}"
        try:
            attempt.touch()
            attempt.unlink()
        except OSError as error:
            writable = str(error)
    here = host.facts()
    return {
        "shared": shared,
        "refusal": writable,
        "missing": [path for path in inputs if not Path(path).exists()],
        "edgec": edgec.__version__,
        "code": source(),
        "tools": tools(),
        "machine": {
            "usable_cores": here.usable_cores,
            **here.model_dump(mode="json", exclude={"governor", "usable_cores"}),
        },
    }


def tools() -> dict[str, str]:
    """Versions of the packages that a build's key holds, edgec apart. Not by dask's `get_versions`: in
    older releases that imports each of them."""
    return {name: _version(name) for name in TOOLS if name != "edgec"}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def build_cell(given: dict[str, Any]) -> dict[str, Any]:
    """One cell, as `asked_of` wrote it; its outcome as a dict. Ends it when the scheduler no longer wants it: the sweep was
    interrupted, or its process is gone."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    try:
        return dataclasses.asdict(run_cell(request_of(given), wanted))
    except Stopped:
        return {}
