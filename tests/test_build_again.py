"""The same build once more: byte for byte the same, done at once, and nothing done that is done already."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.flips import flip
from edgec.artefact.reading import open_artefact
from edgec.artefact.write import write_artefact
from edgec.building import build
from edgec.errors import ArtefactError, EdgecError
from edgec.host.facts import facts
from edgec.model.spec import Size
from edgec.request import BuildRequest
from tests.support.commands import python
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures

HEAVY = ("torch", "onnxscript", "onnx_ir", "transformers", "safetensors.torch")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`checkpoint/`, `frames/`, profiles with one candidate each, so that no timing decides, and a cache."""
    folder = tmp_path_factory.mktemp("again")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    save_profile(folder / "openvino.toml", {"fp32": ["openvino"]})
    save_profile(folder / "int8.toml", {"int8": ["onnxruntime"]})
    return folder


@pytest.fixture
def cache(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(inputs / "cache"))
    return inputs / "cache"


@pytest.fixture
def ask(inputs: Path, cache: Path, tmp_path: Path) -> BuildRequest:
    return BuildRequest(
        str(inputs / "checkpoint"),
        target=str(inputs / "int8.toml"),
        calibration=str(inputs / "frames"),
        size=Size(32, 48),
        min_fidelity=0.5,
        iterations=5,
        output=tmp_path / "made.edgec",
    )


def contents(directory: Path) -> dict[str, bytes]:
    """Everything but the report, whose timings differ."""
    files = {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if not name.startswith(("report.", "report/"))}


def stages_made(cache: Path) -> Counter[str]:
    return Counter(entry.parent.name for entry in (cache / "stages-1").glob("*/*"))


# --- byte for byte


TWO_BUILDS = """
import sys
from edgec.cli import run
folder, first, second = sys.argv[1:]
given = [folder + "/checkpoint", "--calibration", folder + "/frames", "--input-size", "32x48"]
given += ["--min-fidelity", "0.5", "--iterations", "5", "--threads", "1"]
sys.exit(run(["build", *given, "--target", folder + "/openvino.toml", "-o", first])
         or run(["build", *given, "--target", folder + "/int8.toml", "-o", second]))
"""


def test_separate_builds_are_byte_identical(ask: BuildRequest, inputs: Path, tmp_path: Path) -> None:
    """A new process with another hash seed, time zone, cache, working folder and spelling of the paths; and this process, where
    other models were lowered before."""
    shutil.copytree(inputs, tmp_path / "elsewhere" / "copy")
    there = [tmp_path / "openvino there", tmp_path / "int8 there"]
    world = {"PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1", "TZ": "Asia/Tokyo"}
    done = python(TWO_BUILDS, "copy", *there, cwd=tmp_path / "elsewhere", cache=tmp_path / "cache there", env=world)
    assert done.returncode == 0, done.stderr
    here = [tmp_path / "openvino here", tmp_path / "int8 here"]
    for name, place in zip(("openvino", "int8"), here, strict=True):
        build(replace(ask, target=str(inputs / f"{name}.toml"), threads=1, output=place))
    for expected, actual in zip(map(contents, there), map(contents, here), strict=True):
        assert len(expected) >= 5
        assert sorted(actual) == sorted(expected)
        for name, content in expected.items():
            assert actual[name] == content, name


# --- at once


def test_an_artefact_that_another_machine_measured_is_built_again(ask: BuildRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same build key, for it is the same artefact; but its latencies would not be this machine's."""
    first = build(ask)
    assert build(ask).reused
    here = facts()
    monkeypatch.setattr("edgec.host.facts.facts", lambda: here.model_copy(update={"memory_bytes": 1 << 30, "python": "3.99"}))
    elsewhere = build(replace(ask, force=True))
    assert not elsewhere.reused
    assert elsewhere.report.host.python == "3.99"
    assert elsewhere.manifest == first.manifest
    assert build(ask).reused


def test_a_repeated_build_does_nothing(ask: BuildRequest, cache: Path) -> None:
    first = build(ask)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in first.directory.rglob("*")}
    made = stages_made(cache)
    again = build(ask)
    assert again.reused
    assert not first.reused
    assert again.manifest == first.manifest
    assert again.report == first.report
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in first.directory.rglob("*")} == before
    assert stages_made(cache) == made
    assert build(replace(ask, force=True)).reused


def test_a_repeated_build_imports_no_torch(ask: BuildRequest, cache: Path, tmp_path: Path) -> None:
    """Neither where the artefact is there nor where it comes out of the cache."""
    build(ask)
    given = ["build", ask.checkpoint, "--calibration", ask.calibration, "--target", ask.target, "--input-size", "32x48"]
    code = (
        "import json, sys\n"
        "from edgec.cli import run\n"
        "codes = [run([*json.loads(sys.argv[1]), '-o', where]) for where in sys.argv[2:]]\n"
        f"print(json.dumps([codes, sorted(set({HEAVY!r}) & set(sys.modules))]), file=sys.stderr)\n"
    )
    told = json.dumps([*given, "--iterations", "5", "--min-fidelity", "0.5"])
    done = python(code, told, str(ask.output), tmp_path / "another.edgec", cwd=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == [[0, 0], []]
    assert "up to date: nothing was done" in done.stdout
    assert contents(tmp_path / "another.edgec") == contents(tmp_path / "made.edgec")


def test_another_destination_is_filled_from_the_cache(ask: BuildRequest, cache: Path, tmp_path: Path) -> None:
    first = build(ask)
    made = stages_made(cache)
    other = build(replace(ask, output=tmp_path / "below" / "further" / "other.edgec"))
    assert not other.reused
    assert stages_made(cache) == made
    assert contents(other.directory) == contents(first.directory)
    shutil.rmtree(first.directory)
    assert contents(build(ask).directory) == contents(other.directory)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model" / "model.onnx").unlink(),
        lambda folder: (folder / "golden" / "frames.npz").write_bytes(b""),
        lambda folder: (folder / "report.json").unlink(),
        lambda folder: (folder / "extra.txt").write_text("mine"),
        lambda folder: flip(folder / "report.json", 500, 0),
        lambda folder: flip(folder / "report.md", 50, 0),
        lambda folder: flip(folder / "manifest.json", 50, 0),
    ],
    ids=["missing", "empty", "no report", "something more", "report.json", "report.md", "manifest.json"],
)
def test_a_damaged_artefact_is_not_up_to_date(ask: BuildRequest, damage: Callable[[Path], object]) -> None:
    first = build(ask)
    good = contents(first.directory)
    damage(first.directory)
    with pytest.raises(ArtefactError, match="exists already"):
        build(ask)
    mended = build(replace(ask, force=True))
    assert not mended.reused
    assert contents(mended.directory) == good
    open_artefact(mended.directory)


def test_a_flipped_bit_in_the_cache_never_ships(ask: BuildRequest, cache: Path, tmp_path: Path) -> None:
    good = contents(build(ask).directory)
    for number, file in enumerate(sorted((cache / "stages-1" / "artefact").glob("*/content/model/*"))):
        flip(file, file.stat().st_size // 2, number % 8)
    again = build(replace(ask, output=tmp_path / "again.edgec"))
    assert contents(again.directory) == good


def test_a_cache_that_changes_during_the_copy_never_ships(
    ask: BuildRequest, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(ask)

    def late(destination: Path, fill: Callable[[Path], None], *, force: bool) -> Path:
        for model in (cache / "stages-1" / "artefact").glob("*/content/model/model.onnx"):
            flip(model, 1000, 3)
        return write_artefact(destination, fill, force=force)

    with monkeypatch.context() as patch:
        patch.setattr("edgec.building.write_artefact", late)
        with pytest.raises(EdgecError, match="changed while the artefact was copied") as caught:
            build(replace(ask, output=tmp_path / "again.edgec"))
    assert caught.value.evidence == ("changed: model/model.onnx",)
    assert not (tmp_path / "again.edgec").exists()
    build(replace(ask, output=tmp_path / "again.edgec"))


# --- nothing twice


def test_only_what_depends_on_a_change_is_computed_again(ask: BuildRequest, cache: Path, inputs: Path, tmp_path: Path) -> None:
    def made_by(change: BuildRequest) -> set[str]:
        before = stages_made(cache)
        build(replace(change, force=True))
        return set(stages_made(cache) - before)

    build(ask)
    assert {"split", "hub", "reference", "lowered", "fidelity", "assessment", "artefact"} <= set(stages_made(cache))
    assert made_by(replace(ask, min_fidelity=0.4)) == {"artefact"}
    assert made_by(replace(ask, iterations=6)) == {"assessment", "artefact"}
    assert not made_by(replace(ask, target=str(inputs / "openvino.toml"), seed=3)) & {"hub"}
    more = Path(shutil.copytree(inputs / "frames", tmp_path / "frames"))
    draw_pictures(tmp_path / "drawn", 17)
    shutil.copy(tmp_path / "drawn" / "scene q.png", more)
    assert not made_by(replace(ask, calibration=str(more))) & {"hub"}
    assert made_by(replace(ask, size=Size(48, 48))) >= {"hub", "reference", "hub-fidelity"}


def test_the_number_of_threads_decides_what_is_reused(ask: BuildRequest) -> None:
    """Two numbers of threads, two keys: else a report could tell latencies of other threads than it says."""
    one, two = (build(replace(ask, threads=threads, output=Path(f"{ask.output}-{threads}"))) for threads in (1, 2))
    assert one.manifest.build_key != two.manifest.build_key
    for threads, result in ((1, one), (2, two)):
        assert {entry.latency.threads for entry in result.report.candidates if entry.latency} == {threads}
