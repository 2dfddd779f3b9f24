"""What runs in a scheduler's workers: whether they can do what is asked of them, and a cell."""

from __future__ import annotations

import importlib.metadata
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edgec
from edgec.dependencies import source
from edgec.host import facts as host
from edgec.request import TOOLS
from edgec.sweep.cell import request_from_json
from edgec.sweep.child import Stopped, run_cell
from edgec.untrusted import Refused, read_bytes

_TOKEN_BYTES = 4096


def probe(folder: str, token: str, content: str, inputs: Sequence[str]) -> dict[str, Any]:
    """Which of `inputs` are missing, whether `folder` is the sweep's own (its file `token` holds `content`) and can be written,
    and everything of a machine that a build's key depends on."""
    directory = Path(folder)
    try:
        shared = read_bytes(directory / token, _TOKEN_BYTES) == content.encode()
    except (OSError, Refused):
        shared = False
    writable = ""
    if shared:
        attempt = directory / f"{token}-{secrets.token_hex(4)}"
        try:
            attempt.touch()
            attempt.unlink()
        except OSError as error:
            writable = str(error)
    facts = host.facts()
    return {
        "shared": shared,
        "refusal": writable,
        "missing": [path for path in inputs if not Path(path).exists()],
        "edgec": edgec.__version__,
        "code": source(),
        "tools": tools(),
        "machine": {
            "usable_cores": facts.usable_cores,
            **facts.model_dump(mode="json", exclude={"governor", "usable_cores"}),
        },
    }


def tools() -> dict[str, str]:
    """Versions of the packages that a build's key depends on, without edgec's own. Not by dask's `get_versions`: in older
    releases that imports each of them."""
    return {name: _version(name) for name in TOOLS if name != "edgec"}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def build_cell(data: dict[str, Any]) -> dict[str, Any]:
    """One cell, as `request_as_json` wrote it; its outcome as a dict, empty if the cell was stopped because the scheduler no
    longer wants it: the sweep was interrupted, or its process is gone."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def still_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    try:
        return run_cell(request_from_json(data), still_wanted).model_dump()
    except Stopped:
        return {}
