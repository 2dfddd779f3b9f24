"""overview: what is active on this machine, under every name, in one answer: a row of `edgec fleet status`.

It needs no bundle, no runtime and no lock, changes nothing, and is the same for machines of all families. So it is a program of
its own (`targets/device/__main__.py`), which a workstation sends without knowing what machine it talks to.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any, Sequence

from edgec_onboard.program import folder, run_guarded

from edgec_device.arguments import default_root
from edgec_device.bundle import BUNDLE
from edgec_device.errors import from_os_error
from edgec_device.files import read_json
from edgec_device.output import Output, megabytes
from edgec_device.seal import activations, active_state, engine_state, release_of
from edgec_device.session import Layout, read_sound

_FIGURES = ("p50_ms", "p90_ms", "p99_ms")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the overview and return the exit code."""
    parser = argparse.ArgumentParser(prog="edgec-overview", description="Say what is active here.")
    parser.add_argument("--dir", dest="root", metavar="DIR", help="where everything is installed (default: ~/.local/share/edgec)")
    parser.add_argument("--json", action="store_true", help="print one JSON event per line, for programs")
    options = parser.parse_args(arguments)
    output = Output(options.json)
    code = run_guarded(lambda: _print(options.root, output), output.error, from_os_error)
    output.emit("end", exit_code=code)
    return code


def overview(root: Path) -> dict[str, Any]:
    """`active`, an object for each name under which something was activated; and the disk. Raises `OSError`."""
    existing = next(path for path in (root, *root.parents) if path.exists())
    disk = shutil.disk_usage(str(existing))
    names = sorted(path.parent.name for path in root.glob("*/history.json"))
    return {
        "root": str(root),
        "disk_free_bytes": disk.free,
        "disk_bytes": disk.total,
        "update_open": (root / "update.json").exists(),
        "active": [_active(Layout(root, name)) for name in names],
    }


def _print(given: str | None, output: Output) -> None:
    answer = overview(folder(given or default_root(), "--dir"))
    lines = [
        "{}: {}".format(each["name"], "nothing is active" if each["engine"] is None else "{engine} since {time}".format(**each))
        for each in answer["active"]
    ]
    lines.append(f"{megabytes(answer['disk_free_bytes'])} free under {answer['root']}")
    output.emit("overview", "\n".join(lines), **answer)


def _active(layout: Layout) -> dict[str, Any]:
    """What is active under one name: None or empty where nothing is."""
    past, state = activations(layout), active_state(layout)
    entry = past[-1] if past else {}
    place = layout.engines / str(entry.get("engine"))
    facts, verified, bench = (read_sound(place, name) or {} if entry else {} for name in ("engine", "verify", "bench"))
    document = (read_json(release_of(layout, entry) / BUNDLE) or {}) if entry else {}
    return {
        "name": layout.home.name,
        **_entry(entry),
        "runtime": facts.get("runtime") or facts.get("tensorrt"),
        "state": None if state is None else state.state,
        "evidence": [] if state is None else list(state.evidence),
        "passed": verified.get("passed"),
        "frames": verified.get("frames"),
        "verified": verified.get("evidence"),
        **{name: bench.get(name) for name in _FIGURES},
        "measured": bench.get("evidence"),
        "throttled": bench.get("throttled", []),
        "family": document.get("family"),
        "previous": _previous(layout, past[-2]) if len(past) > 1 else None,
    }


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry.get(name) for name in ("engine", "variant", "build_key", "time", "reason", "release")}


def _previous(layout: Layout, entry: dict[str, Any]) -> dict[str, Any]:
    return {**_entry(entry), "state": engine_state(layout, entry).state}
