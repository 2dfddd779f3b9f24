"""What a board says: its greeting, its events, its measurements; `edgec deploy` and `bench --on`, with a stand-in for ssh."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.kinds import Try, command
from benchmarks.fuzz.mutations import bytes_changed, json_text, value_changed
from edgec.onboard import measurements, seal

# The first ssh is the connection's master, and greets; each that follows says what is next in the folder. Turns are counted for
# each connection, which its control socket names: two boards are talked to at once. A tail that has no end for a reader without
# bounds is 3 GB.
_SSH = """#!/bin/sh
cd {folder}
case "$*" in
*edgec-board*)
    cat greeting
    [ -e endless-greeting ] && head -c 3000000000 /dev/zero
    [ -e leaves ] || cat > /dev/null
    ;;
*)
    turns=turns/$(echo "$4" | tr / _)
    mkdir -p "$turns"
    turn=$(ls "$turns" | wc -l)
    : > "$turns/$turn"
    [ -e listens ] && head -c 100000 > /dev/null
    cat said-$turn 2> /dev/null
    [ -e errors ] && cat errors >&2
    [ -e endless-output ] && tr '\\000' {character} < /dev/zero | head -c 3000000000
    [ -e endless-errors ] && head -c 3000000000 /dev/zero >&2
    exit {code}
    ;;
esac
"""
_TALK: tuple[dict[str, Any], ...] = (
    {"event": "step", "time": 1.5, "step": "check", "text": "check: looks"},
    {"event": "fact", "time": 1.6, "name": "tensorrt", "value": "10.3.0"},
    {"event": "wanted", "time": 1.7, "files": [{"path": "model/int8.onnx", "offset": 0, "size_bytes": 5}]},
    {"event": "done", "time": 2.0, "step": "copy", "result": "copied", "files": ["model/int8.onnx"], "size_bytes": 5},
    {"event": "progress", "time": 2.1, "seconds": 3.0, "step": "build", "detail": "at work", "done_bytes": 3, "total_bytes": 9},
    {
        "event": "problem",
        "time": 2.2,
        "step": "build",
        "variant": "int8",
        "what": "no",
        "evidence": ["a"],
        "remedy": "b",
        "exit_code": 10,
    },
    {"event": "log", "time": 2.3, "line": "[W] warned", "text": "warned"},
    {"event": "table", "time": 2.4, "text": "a table"},
    {"event": "done", "time": 2.5, "step": "activate", "result": "activated", "path": "/home/robot/edgec/current"},
    {
        "event": "status",
        "time": 2.6,
        "current": "a",
        "previous": None,
        "variants": [{"variant": "int8", "p50_ms": 2.0}],
        "unused": [],
    },
    {"event": "measured", "time": 2.7, "path": "/r/measurements.json", "chosen": "int8"},
    {"event": "end", "time": 2.8, "exit_code": 0},
)
_ERROR: dict[str, Any] = {
    "event": "error",
    "time": 2.7,
    "what": "it broke",
    "evidence": ["x"],
    "remedy": "mend it",
    "exit_code": 9,
}


def prepare(corpus: Path) -> None:
    """An artefact for boards, and what a board would have measured of it."""
    from benchmarks import small

    small.prepare(corpus / "inputs")
    small.build(corpus / "inputs", "jetson", corpus / "jetson.edgec")
    measurements.write(corpus / measurements.NAME, _measured(json.loads((corpus / "jetson.edgec" / "report.json").read_text())))


def _measured(report: dict[str, Any]) -> dict[str, Any]:
    """Measurements of the artefact whose report this is, with members of every kind."""
    timings = {
        "samples_ms": [3.0, 2.5, 2.75],
        "blocks": [{"round": 0, "runs": 3}],
        "warmup": 5,
        "evidence": "measured on target",
        "flags": ["--useSpinWait"],
        "power_mode": "MAXN",
        "gpu_clock_fixed": True,
        "throttled": ["over-current"],
        "temperatures_c": {"gpu": [40.0, 51.5]},
        "power_mw": {"VDD_IN": [6000.0, 7100.0]},
    }
    own = ("runtime", "precision", "fidelity")
    candidates = [
        {
            # Boards call them by their variants' names.
            "name": candidate["name"].removeprefix("tensorrt-").replace("-static", ""),
            **{name: candidate[name] for name in own},
            "timings": timings,
            "remarks": ["warm"],
        }
        for candidate in report["candidates"]
    ]
    same = ("edgec_version", "model", "target", "input_shape", "precision_asked", "heads", "calibration", "validation_frames")
    return {
        **{name: report[name] for name in (*same, "host")},
        "host_is_target": True,
        "budget": {"min_fidelity": report["min_fidelity"]},
        "tool": "trtexec",
        "doubts": ["it is a stand-in"],
        "remarks": ["A board."],
        "candidates": candidates,
        "chosen": candidates[0]["name"],
        "reason": "It is the fastest.",
        "details": {"anything": [1, "x"]},
    }


def draw(random: Random, corpus: Path, place: Path) -> Try:
    """A board that answers a command with damaged words, events and measurements."""
    artefact = place / "made.edgec"
    shutil.copytree(corpus / "jetson.edgec", artefact, copy_function=os.link)
    said = _stand_in(random, corpus, place)
    asked = random.choice(
        (("deploy", artefact), ("deploy", artefact), ("deploy", artefact, "--json"), ("deploy", artefact, "--status"))
    )
    boards = ("robot",) if random.random() < 0.85 else ("robot", "other")
    run = command(*asked, *boards)
    if random.random() < 0.2:
        run = command("bench", artefact, "--on", "robot", *(("--json",) * (random.random() < 0.5)))
    return Try(f"{asked[0]}: {said}", run)


def _stand_in(random: Random, corpus: Path, place: Path) -> str:
    folder = place / "board"
    (folder / "turns").mkdir(parents=True)
    said = []
    greeting = b"Welcome!\nedgec-board 3 10 12\n"
    if random.random() < 0.15:
        greeting = random.choice((
            bytes_changed(random, greeting), b"edgec-board " + b"9" * 5000 + b" 1 1\n", b"\x1b[2J" * 40_000 + greeting,
            b"edgec-board\n", b"edgec-board 3 10 12", b"x" * (1 << 20) + b"\n" + greeting, b"edgec-board 3 \xb2 1\n",
        ))  # fmt: skip
        said.append("greeting")
        (folder / "leaves").touch()  # for what is silent edgec waits a minute, on purpose
    (folder / "greeting").write_bytes(greeting)
    (folder / "said-0").write_bytes(_talk(random))
    (folder / "said-1").write_bytes(_measurements(random, corpus / measurements.NAME))
    (folder / "said-2").write_bytes(random.choice((b"{}", b"[" * 100_000, b"1e309", json_text(random, _ERROR))))
    for name in ("endless-greeting", "endless-output", "endless-errors"):
        if random.random() < 0.005:
            (folder / name).touch()
            said.append(name)
    if random.random() < 0.5:
        (folder / "listens").touch()
    if random.random() < 0.3:
        (folder / "errors").write_bytes(random.choice((b"Permission denied\n", b"\x1b[31m\xff\n" * 500, b"x" * 200_000)))
    programs = folder / "bin"
    programs.mkdir()
    code = random.choice((0, 0, 0, 1, 70, 255, 137))
    character = random.choice(("x", "'\\n'", "["))
    (programs / "ssh").write_text(_SSH.format(folder=f"'{folder}'", code=code, character=character))
    (programs / "ssh").chmod(0o755)
    os.environ["PATH"] = f"{programs}:/usr/local/bin:/usr/bin:/bin"
    return ", ".join([*said, f"code {code}"])


def _measurements(random: Random, path: Path) -> bytes:
    """As they were in half of the draws. Of the others half are sealed again, so that they are read beyond their seal."""
    content = path.read_bytes()
    if random.random() < 0.5:
        return content
    document = json.loads(content)
    del document[seal.NAME]
    changed = json_text(random, value_changed(random, document), indent=True)
    text = changed.decode("utf-8", "replace")
    return seal.sealed(text).encode() if random.random() < 0.5 and text.rstrip().endswith("}") else changed


def _talk(random: Random) -> bytes:
    events = [json.loads(json.dumps(each)) for each in _TALK]
    if random.random() < 0.3:
        events.insert(-1, dict(_ERROR))
    lines = []
    for event in events:
        changed = random.random() < 0.25
        lines.append(
            json_text(random, value_changed(random, event)).replace(b"\n", b" ") if changed else json.dumps(event).encode()
        )
    if random.random() < 0.3:
        random.shuffle(lines)
    if random.random() < 0.2:
        names = (f'{{"event": "{number}{"n" * random.choice((1, 50_000))}"}}'.encode() for number in range(200))
        lines[:0] = list(names)
    if random.random() < 0.1:
        lines.insert(
            random.randrange(len(lines)), random.choice((b"[]," * 400_000, b"[" * 900_000, b"x" * (3 << 20), b"\xff" * 5000))
        )
    data = b"\n".join(lines) + b"\n" * (random.random() < 0.9)
    return bytes_changed(random, data) if random.random() < 0.2 else data
