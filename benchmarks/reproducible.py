"""One release, built in two fresh environments: other interpreters, folders, users, umasks, locales, time zones and times."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edgec.bundle.diff import compare_bundles

ROOT = Path(__file__).resolve().parents[1]
_ELSEWHERE = {"LC_ALL": "C.UTF-8", "LANGUAGE": "de:fr", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "77"}
_HERE = {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1"}
_SOMEBODY_ELSE = ("unshare", "--user", "--map-user=4321")


@dataclass(frozen=True)
class Place:
    """Where, by what and as whom one release is built."""

    python: Path
    folder: str
    umask: int
    env: dict[str, str]
    before: tuple[str, ...] = ()


def compare_environments(pythons: Sequence[Path], words: Sequence[str]) -> None:
    """Make an environment from constraints.txt with each of the two interpreters, run `edgec build` with these words and
    `edgec bundle` in both, with one key, and print what `edgec bundle diff` says. What the first build chose, the second names
    with `--candidate`: two measurements on a busy machine may choose differently.

    Raises `SystemExit` if anything fails, and unless both are the same release.
    """
    first, second = pythons
    places = (Place(first, "here", 0o022, _HERE), Place(second, "a longer path/with spaces", 0o077, _ELSEWHERE, _SOMEBODY_ELSE))
    with tempfile.TemporaryDirectory(prefix="edgec-") as scratch:
        root = Path(scratch)
        wheel = _wheel(root / "wheel", first)
        programs = [_environment(root / f"environment-{number}", place.python, wheel) for number, place in enumerate(places)]
        _run([programs[0], "keygen", "release.key"], root, places[0])
        chosen = ""
        bundles = []
        for number, (program, place) in enumerate(zip(programs, places, strict=True)):
            folder = root / place.folder
            folder.mkdir(parents=True)
            # In both, because a named candidate is a part of the request. The first name comes from a build of its own.
            chosen = chosen or _choose(program, words, root / "look", place)
            _run([program, "build", *words, "--candidate", chosen, "-o", "robot.edgec"], folder, place)
            bundle = root / f"robot-{number}.edgec-bundle"
            options = ["--sign", str(root / "release.key"), "--name", "robot", "--release", "1.0.0"]
            _run([program, "bundle", "robot.edgec", *options, "-o", str(bundle)], folder, place)
            bundles.append(bundle)
        comparison = compare_bundles(*bundles)
        table = Table("Python", "folder", "umask", "user", "locale", "bundle, bytes")
        for place, bundle in zip(places, bundles, strict=True):
            user = "another" if place.before else "this one"
            locale = f"{place.env['LC_ALL']}, {place.env['TZ']}"
            size = f"{bundle.stat().st_size:,}"
            table.add_row(_version(place.python), place.folder, f"{place.umask:03o}", user, locale, size)
        Console(width=120).print(table)
        print(f"{chosen}: ", end="")
        print(comparison.summary)
        for difference in comparison.differences:
            print(f"{difference.part}: {difference.path} {difference.what}")
            if difference.part in ("release", "artefact"):
                print(*(f"  {why}" for why in difference.why), sep="\n")
        if not comparison.same_release:
            raise SystemExit(1)


def _wheel(folder: Path, python: Path) -> Path:
    """Of this checkout as it is now, for both environments."""
    subprocess.run([str(python), "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    return next(folder.glob("*.whl"))


def _environment(folder: Path, python: Path, wheel: Path) -> str:
    """Its `edgec`."""
    subprocess.run([str(python), "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, f"edgec[build,cpu,bundle] @ {wheel.as_uri()}"], check=True)
    return str(folder / "bin" / "edgec")


def _choose(program: str, words: Sequence[str], folder: Path, place: Place) -> str:
    folder.mkdir()
    _run([program, "build", *words, "-o", "robot.edgec"], folder, place)
    chosen: str = json.loads((folder / "robot.edgec" / "report.json").read_text())["chosen"]
    shutil.rmtree(folder)
    return chosen


def _run(command: Sequence[str], folder: Path, place: Place) -> None:
    own = {"HOME": str(folder), "EDGEC_CACHE_DIR": str(folder / "cache"), "TMPDIR": str(folder)}
    done = subprocess.run(
        [*place.before, *command],
        cwd=folder, env={**os.environ, **own, **place.env}, umask=place.umask, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr}")


def _version(python: Path) -> str:
    return subprocess.run([str(python), "-V"], capture_output=True, text=True, check=True).stdout.split()[-1]
