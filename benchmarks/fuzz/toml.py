"""What people write by hand: target profiles, sets of frames, sweeps, and descriptions of heads."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.kinds import Try, command
from benchmarks.fuzz.mutations import bytes_changed, toml_text, value_changed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SWEEP: dict[str, Any] = {
    "checkpoints": {"first": "demo", "second": "random:vits16"},
    "targets": ["cpu", "jetson", "own.toml"],
    "sizes": [224, "480x640"],
    "precisions": ["auto", "int8"],
    "calibration": "frames/",
    "validation": "demo",
    "effort": "quick",
    "iterations": 100,
    "fps": 30,
    "min_fidelity": 0.99,
    "exclude": [{"target": "jetson", "size": 224}],
    "include": [{"checkpoint": "demo", "target": "apple", "size": 448, "precision": "fp16"}],
}
_HEADS: tuple[dict[str, Any], ...] = (
    {
        "kind": "linear",
        "features": "cls+mean",
        "classes": ["floor", "wall", "thing"],
        "name": "k",
        "description": "d",
        "prefix": "",
    },
    {"kind": "linear", "layers": [1], "patch": 16, "output": "scores", "features": "cls", "activation": "gelu"},
)


def prepare(corpus: Path) -> None:
    """edgec's own profiles and sets, a few pictures, and a head."""
    from edgec.resources import room
    from tests.support import heads
    from tests.support.frames import draw_pictures

    (corpus / "profiles").mkdir()
    for path in sorted(room("targets").glob("*/*.toml")):
        shutil.copy(path, corpus / "profiles")
    shutil.copy(room("calibration") / "demo.toml", corpus / "demo.toml")
    draw_pictures(corpus / "demo", 3)
    heads.linear(corpus, 64, name="kind")


def draw(random: Random, corpus: Path, place: Path) -> Try:
    """A profile, a set of frames, a sweep or a description of a head."""
    return random.choice((_profile, _profile, _set, _sweep, _head))(random, corpus, place)


def _changed(random: Random, path: Path, table: dict[str, Any], text: bytes | None = None) -> None:
    """As a document, or, where its `text` is given, sometimes as bytes."""
    if text is not None and random.random() < 0.3:
        path.write_bytes(bytes_changed(random, text))
    else:
        path.write_bytes(toml_text(random, value_changed(random, table)))


def _profile(random: Random, corpus: Path, place: Path) -> Try:
    source = random.choice(sorted((corpus / "profiles").iterdir()))
    text = source.read_bytes()
    table = tomllib.loads(text.decode())
    if random.random() < 0.2:
        table["extends"] = random.choice(
            ("cpu-x86-64", "./own.toml", "own.toml", "nothing", "/dev/zero", "../own.toml", "x" * 300)
        )
    _changed(random, place / "own.toml", table, text)
    json_too = ("--json",) * (random.random() < 0.4)
    return Try(f"profile {source.stem}", command("targets", "show", "./own.toml", *json_too))


def _set(random: Random, corpus: Path, place: Path) -> Try:
    text = (corpus / "demo.toml").read_bytes()
    table = tomllib.loads(text.decode())
    table["sources"] = [{"path": ["demo"], "name": "first"}, {"path": "demo/*b.png", "name": "second", "every": 2, "limit": 3}][
        : random.choice((1, 1, 2))
    ]
    table.pop("sha256", None)
    shutil.copytree(corpus / "demo", place / "demo")
    _changed(random, place / "set.toml", table, text)
    return Try("set of frames", command("calibration", "lint", "set.toml", "--input-size", "32"))


def _sweep(random: Random, corpus: Path, place: Path) -> Try:
    _changed(random, place / "matrix.toml", _SWEEP)

    def read() -> int:
        """A whole sweep builds; up to there the matrix decides."""
        from edgec.sweep import matrix

        matrix.read(Path("matrix.toml"))
        return 0

    return Try("sweep", read)


def _head(random: Random, corpus: Path, place: Path) -> Try:
    shutil.copy(corpus / "kind.safetensors", place / "kind.safetensors")
    _changed(random, place / "kind.toml", random.choice(_HEADS))

    def read() -> int:
        from edgec.heads import read_heads

        read_heads(["kind=kind.safetensors"])
        return 0

    return Try("head's description", read)
