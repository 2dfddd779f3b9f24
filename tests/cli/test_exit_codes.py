"""The table of exit codes in `edgec.errors` is true: a real fault for each, through the real command line."""

from __future__ import annotations

import io
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgec import errors
from edgec.durable import sha256_of
from edgec.errors import EdgecError
from tests.support import forging
from tests.support.commands import edgec
from tests.support.files import save_profile
from tests.support.frames import draw_pictures

Said = Callable[..., tuple[int, str, str]]


def table() -> list[tuple[int, str, int]]:
    """Depth, name and exit code, as drawn in the docstring."""
    rows = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^ {4}([ │├└─]*)(\w+)\s+(\d+)\s{3}\S", line)
        if match:
            rows.append((len(match[1]) // 5, match[2], int(match[3])))
    return rows


def test_the_table_names_every_error_with_its_code_and_its_place() -> None:
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, EdgecError)}
    rows = table()
    assert [name for _, name, _ in rows] == sorted(classes, key=[name for _, name, _ in rows].index)
    assert len(rows) == len(classes)
    above: dict[int, type] = {}
    for depth, name, code in rows:
        assert classes[name].exit_code == code
        above[depth] = classes[name]
        if depth:
            assert classes[name].__bases__ == (above[depth - 1],), name


def test_codes_differ_from_those_of_shells() -> None:
    codes = {code for _, _, code in table()}
    assert codes == set(range(1, 23))


@dataclass(frozen=True)
class Scene:
    """What a fault is staged with."""

    workplace: Path
    artefact: Path
    tmp: Path
    asked: list[str]
    monkeypatch: pytest.MonkeyPatch

    def build(self, *more: str | Path, checkpoint: str | Path | None = None) -> list[str]:
        asked = list(self.asked)
        if checkpoint is not None:
            asked[1] = str(checkpoint)
        return [*asked, "-o", str(self.tmp / "new.edgec"), *map(str, more)]

    def file(self, name: str, content: bytes) -> Path:
        (self.tmp / name).write_bytes(content)
        return self.tmp / name

    def relist(self) -> None:
        """As a forger would: all hashes fit the changed files."""
        forging.repair(self.artefact)


Stage = Callable[[Scene], list[str]]


def no_cache(scene: Scene) -> list[str]:
    scene.file("file", b"")
    scene.monkeypatch.setenv("EDGEC_CACHE_DIR", str(scene.tmp / "file" / "cache"))
    return scene.build()


def hostile_pickle(scene: Scene) -> list[str]:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(scene.tmp / "executed"),))  # type: ignore[return-value]

    return scene.build(checkpoint=scene.file("evil.pth", pickle.dumps({"model": Evil()})))


def truncated(scene: Scene) -> list[str]:
    content = (scene.workplace / "checkpoint" / "model.safetensors").read_bytes()
    return scene.build(checkpoint=scene.file("half.safetensors", content[: len(content) // 2]))


def without_config(scene: Scene) -> list[str]:
    folder = Path(shutil.copytree(scene.workplace / "checkpoint", scene.tmp / "bare"))
    (folder / "config.json").unlink()
    return scene.build(checkpoint=folder)


def few_frames(scene: Scene) -> list[str]:
    return scene.build("--calibration", draw_pictures(scene.tmp / "few", 3))


def no_pictures(scene: Scene) -> list[str]:
    (scene.tmp / "texts").mkdir()
    scene.file("texts/a.txt", b"hello")
    return scene.build("--calibration", scene.tmp / "texts")


def float_only(scene: Scene) -> list[str]:
    return scene.build("--target", save_profile(scene.tmp / "f.toml", {"fp32": ["onnxruntime"]}), "--precision", "int8")


def broken_profile(scene: Scene) -> list[str]:
    return scene.build("--target", scene.file("broken.toml", b"name = 'x'\nfamily = \n"))


def rotten_hub(scene: Scene) -> list[str]:
    """The hub graph in the cache with one weight changed, and nothing yet that was judged by it. The entry's index is made to
    fit."""
    cache = Path(shutil.copytree(scene.workplace / "cache", scene.tmp / "rotten"))
    scene.monkeypatch.setenv("EDGEC_CACHE_DIR", str(cache))
    [hub] = (cache / "stages-1" / "hub").glob("*/content/hub.onnx")
    model = onnx.load(hub)
    weight = next(entry for entry in model.graph.initializer if entry.name == "blocks.0.attn.proj.weight")
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    hub.write_bytes(model.SerializeToString(deterministic=True))
    facts = [hub.stat().st_size, sha256_of(hub)]
    forging.edit(hub.parent.parent / "index.json", lambda index: index["files"].update({"hub.onnx": facts}))
    for stage in ("hub-fidelity", "artefact"):
        shutil.rmtree(cache / "stages-1" / stage)
    return scene.build()


def tampered_model(scene: Scene) -> list[str]:
    model = scene.artefact / "model" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    return ["verify", str(scene.artefact)]


def forged_features(scene: Scene) -> list[str]:
    """What is expected was changed, hashes and all, in no direction: the model computes something else."""
    from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, write_golden

    loaded = {path: dict(np.load(scene.artefact / path)) for path in (FRAMES, EXPECTED_FLOAT32, EXPECTED_SHIPPED)}
    shipped = {name: value * np.float32(1.02) for name, value in loaded[EXPECTED_SHIPPED].items()}
    write_golden(scene.artefact, loaded[FRAMES]["frames"], loaded[EXPECTED_FLOAT32], shipped)
    scene.relist()
    return ["verify", str(scene.artefact)]


def garbage_model(scene: Scene) -> list[str]:
    (scene.artefact / "model" / "model.onnx").write_bytes(b"no model at all" * 100)
    scene.relist()
    return ["verify", str(scene.artefact)]


FAULTS: list[tuple[int, str, Stage]] = [
    (1, "cache", no_cache),
    (2, "No such command", lambda scene: ["bild"]),
    (2, "No such option", lambda scene: scene.build("--quick")),
    (2, "no edgec.toml in this folder", lambda scene: ["build"]),
    (2, "Missing argument", lambda scene: ["inspect"]),
    (2, "not an input size", lambda scene: scene.build("--input-size", "224x")),
    (2, "not an input size", lambda scene: scene.build("--input-size", "-16")),
    (2, "96x96 or 112x112", lambda scene: ["100" if part == "32x48" else part for part in scene.build()]),
    (2, "takes frames of one size", lambda scene: scene.build("--input-size", "64x48")),
    (2, "given twice", lambda scene: scene.build("--input-size", "32x48")),
    (2, "list of block numbers", lambda scene: scene.build("--layers", "1,two")),
    (2, "cannot give the layers 7", lambda scene: scene.build("--layers", "7")),
    (2, "--batch", lambda scene: scene.build("--batch", "0")),
    (2, "--threads", lambda scene: scene.build("--threads", "0")),
    (2, "--iterations", lambda scene: scene.build("--iterations", "1")),
    (2, "--seed", lambda scene: scene.build("--seed", "-1")),
    (2, "--precision", lambda scene: scene.build("--precision", "int4")),
    (2, "minimum fidelity", lambda scene: scene.build("--min-fidelity", "1.5")),
    (2, "minimum fidelity", lambda scene: scene.build("--min-fidelity", "nan")),
    (2, "architecture", lambda scene: scene.build(checkpoint="random:vitz16")),
    (3, "no checkpoint at", lambda scene: scene.build(checkpoint="nowhere.pth")),
    (3, "notes.pth", lambda scene: scene.build(checkpoint=scene.file("notes.pth", b"These are not weights.\n"))),
    (3, "empty.safetensors", lambda scene: scene.build(checkpoint=scene.file("empty.safetensors", b""))),
    (3, "evil.pth", hostile_pickle),
    (3, "half.safetensors", truncated),
    (3, "config.json", without_config),
    (3, "no checkpoint at", lambda scene: ["inspect", "nowhere"]),
    (4, "no calibration set", lambda scene: scene.build("--calibration", "nowhere")),
    (4, "too few usable frames", few_frames),
    (4, "no usable frame", no_pictures),
    (4, "Random frames show nothing", lambda scene: scene.build("--calibration", "random")),
    (4, "Random frames show nothing", lambda scene: scene.build("--validation", "random")),
    (5, "no target named", lambda scene: scene.build("--target", "nowhere")),
    (5, "no target named", lambda scene: ["targets", "show", "nowhere"]),
    (5, "does not offer int8", float_only),
    (5, "broken.toml is not TOML", broken_profile),
    (6, "computes another 'cls'", rotten_hub),
    (7, "No candidate keeps the features", lambda scene: scene.build("--precision", "int8", "--min-fidelity", "1")),
    (8, "exists already", lambda scene: scene.build("-o", scene.artefact, "--iterations", "6")),
    (8, "not an artefact", lambda scene: ["verify", str(scene.workplace)]),
    (8, "nothing is there", lambda scene: ["bench", str(scene.tmp / "nowhere")]),
    (8, "1 changed", tampered_model),
    (9, "does not compute what was recorded", forged_features),
    (10, "refuses the model", garbage_model),
]


@pytest.mark.parametrize(
    ("code", "said", "stage"), FAULTS, ids=[f"{code}-{getattr(stage, '__name__', '')}-{said}" for code, said, stage in FAULTS]
)
def test_each_fault_has_its_code(
    code: int,
    said: str,
    stage: Stage,
    say: Said,
    workplace: Path,
    artefact: Path,
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(workplace, artefact, tmp_path, asked, monkeypatch)
    arguments = stage(scene)
    actual, out, err = say(*arguments)
    assert actual == code, err
    assert said in " ".join(err.split())
    assert out == ""
    assert "Traceback" not in err
    assert "\x1b" not in err
    assert not (tmp_path / "new.edgec").exists()
    assert not (tmp_path / "executed").exists()
    if code != 2:
        lines = err.splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith("edgec: "))
        assert all(line.startswith("  ") for line in lines[first + 1 :])


ELSEWHERE = {
    **dict.fromkeys(range(11, 15), "tests/boards"),
    15: "tests/device",
    16: "tests/boards",
    17: "tests/cli/test_compare.py",
    18: "tests/test_build_apple.py",
    **dict.fromkeys((19, 20), "tests/bundle"),
    21: "tests/fleet",
    22: "tests/cli/test_ci.py",
}
"""What takes a board, two reports, a key or a target's extra to stage."""


def test_every_code_of_the_table_is_tried() -> None:
    assert {code for code, _, _ in FAULTS} | set(ELSEWHERE) == {code for _, _, code in table()}


def test_a_bug_shows_itself_with_a_traceback_and_a_code_of_its_own(say: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("edgec.cli.targets._list_all", broken)
    code, out, err = say("targets")
    assert code == 70
    assert "ZeroDivisionError: a bug" in err
    assert "Please report it" in err
    assert out == ""


def test_an_interrupt_is_no_error(say: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgec.cli.targets._list_all", interrupted)
    code, out, err = say("targets")
    assert (code, out) == (130, "")
    assert "Interrupted" in err
    assert "Traceback" not in err


def test_the_process_ends_with_the_code(tmp_path: Path) -> None:
    for arguments, code in ((["targets", "show", "nowhere"], 5), (["inspect", "nowhere"], 3), (["--version"], 0), ([], 2)):
        done = edgec(*arguments, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


def test_pickles_of_the_tests_would_run() -> None:
    """The hostile file is hostile: plain unpickling executes it."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (len, ("four",))

    assert pickle.load(io.BytesIO(pickle.dumps(Evil()))) == 4
