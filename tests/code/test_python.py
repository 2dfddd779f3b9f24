"""The Python package: both runtimes compute what edgec computes, judge as `edgec verify` does, and refuse what is not right."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgec.artefact.checking import check_outputs
from edgec.artefact.reading import open_artefact
from edgec.artefact.tolerances import allowed
from edgec.backends.cpu.robot_code import cpu_robot_code
from edgec.code.generating import CodeRequest, generate
from edgec.code.identifiers import python_literal
from edgec.frames import fit, yuv
from edgec.model.spec import Size
from tests.code.conftest import VARIANTS
from tests.code.test_consumer import MOVES
from tests.code.test_generating import HOSTILE, hostile_project
from tests.code.test_programs import drifts, expected, raw
from tests.running.conftest import GREEN, plain, reddish
from tests.support.meaning import CLASSES, ENTRY, HEIGHT, WIDTH, write_meaning

THREADS = 2


def run_frames(project: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The project's program, in a Python of its own."""
    command = [sys.executable, "-W", "error", "run_frames.py", *map(str, words)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def meaning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibrated on reddish frames."""
    return write_meaning(tmp_path_factory.mktemp("python") / "meaning_of_one.edgec", like=[reddish(seed) for seed in range(40)])


@pytest.fixture(scope="module")
def package(meaning: Path) -> Iterator[Callable[[str], ModuleType]]:
    """The modules of a ROS 2 project, which are the Python project's and more, imported here."""
    project = generate(CodeRequest(meaning, "ros2"))
    sys.path.insert(0, str(project.directory))
    yield lambda name: importlib.import_module(f"{project.namespace}.{name}")
    sys.path.remove(str(project.directory))
    for name in [name for name in sys.modules if name.partition(".")[0] == project.namespace]:
        del sys.modules[name]


@pytest.mark.parametrize("runtime", tuple(VARIANTS))
def test_a_package_computes_what_edgec_computes(runtime: str, artefact: Path, tmp_path: Path) -> None:
    project = generate(CodeRequest(artefact, "python", tmp_path / "robot", VARIANTS[runtime])).directory
    golden = open_artefact(artefact).golden.frames
    options = ("--threads", THREADS, "--json", "--output", tmp_path / "outputs.bin")
    gap = 3 * golden.shape[2] + 32
    bgr = raw(tmp_path / "bgr", np.ascontiguousarray(golden[..., ::-1]), 32)
    done = run_frames(project, *map(str, options), "--stride", str(gap), "--bgr", bgr)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["threads"] == THREADS
    assert (tmp_path / "outputs.bin").read_bytes() == expected(artefact, runtime, golden, tmp_path)


@pytest.mark.parametrize("move", MOVES)
def test_the_self_test_judges_as_edgec_verify_does(move: str, package: Callable[[str], ModuleType], meaning: Path) -> None:
    (size,) = open_artefact(meaning).sizes
    random = np.random.default_rng(3)
    recorded = [size.golden.expected_shipped[output.name] for output in size.facts.outputs]
    actual = []
    for output, values in zip(size.facts.outputs, recorded, strict=True):
        if output.role == "labels":
            actual.append(np.where(random.random(values.shape) < MOVES[move], (values + 1) % 3, values).astype(np.int32))
        else:
            noise = random.uniform(-1, 1, values.shape) * np.abs(values).max() * MOVES[move]
            actual.append((values + noise).astype(np.float32))
    names = [output.name for output in size.facts.outputs]
    by_name = dict(zip(names, actual, strict=True))
    checks = check_outputs(size, by_name, size.golden.expected_shipped, allowed("fp32", size.facts.golden, same=False))
    self_test = package("self_test")
    own = self_test.check_outputs(actual, recorded)
    for mine, theirs in zip(own, checks, strict=True):
        figures = [theirs.difference, theirs.tolerance, theirs.cosine, theirs.min_cosine, theirs.passed]
        assert [mine.difference, mine.tolerance, mine.cosine, mine.least_cosine, mine.passed] == pytest.approx(
            figures, nan_ok=True
        )
    if all(check.passed for check in checks):
        assert self_test.judge(own) == own
    else:
        with pytest.raises(package("errors").Error, match="does not compute here") as refusal:
            self_test.judge(own)
        assert refusal.value.code == 9


def test_a_packed_frame_is_read_where_it_is_and_others_are_copied_once(
    package: Callable[[str], ModuleType], meaning: Path
) -> None:
    model = package("model").Model(meaning.with_name("meaning_of_one-ros2") / "artefact", threads=1)
    seen: list[Any] = []
    infer = model.runtime.infer
    model.runtime.infer = lambda frames: seen.append(frames) or infer(frames)
    frame = np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    packed = model.run(frame)
    assert np.shares_memory(seen[0], frame)
    padded = np.pad(frame[..., ::-1].reshape(HEIGHT, -1), ((0, 0), (0, 7)))
    strided = package("frame").view(padded.tobytes()[:-7], HEIGHT, WIDTH, stride=3 * WIDTH + 7, bgr=True)
    assert np.array_equal(model.run(strided).bright, packed.bright)
    assert CLASSES[int(packed.colour[0].argmax())] == package("contract").COLOUR_CLASSES[packed.colour[0].argmax()]
    for wrong in (frame[1:], frame.astype(np.float32), [frame, frame], []):
        with pytest.raises(package("errors").Error, match="not what the model takes"):
            model.run(wrong)


def test_the_drift_score_is_that_of_edgec_run(meaning: Path, tmp_path: Path) -> None:
    frames = np.stack([reddish(101), plain(GREEN), reddish(102) // 2, reddish(103)])
    project = generate(CodeRequest(meaning, "python", tmp_path / "robot")).directory
    keeping = ("--drift-frames", tmp_path / "ring", "--drift-frames-most", "1")
    done = run_frames(project, "--json", "--drift", tmp_path / "drift.json", *keeping, raw(tmp_path / "frames.rgb", frames))
    assert done.returncode == 0, done.stderr
    expected_scores = drifts(meaning, frames, tmp_path)
    assert json.loads((tmp_path / "drift.json").read_text()) == pytest.approx(expected_scores, rel=1e-6)
    assert [score > 1 for score in expected_scores] == [False, True, True, False]
    assert json.loads(done.stdout)["drift"] == {"alarms": 2, "largest": pytest.approx(max(expected_scores), rel=1e-6)}
    (line,) = [json.loads(path.read_text()) for path in (tmp_path / "ring").glob("*.json")]
    assert (line["source"], line["build_key"]) == ("frame 2", open_artefact(meaning).manifest.build_key)
    with Image.open(tmp_path / "ring" / line["file"]) as picture:
        assert np.array_equal(np.array(picture), frames[2])


def test_a_drift_score_that_comes_out_differently_is_refused(package: Callable[[str], ModuleType], meaning: Path) -> None:
    folder, drift = meaning.with_name("meaning_of_one-ros2") / "artefact", package("drift")
    facts = package("contract").DRIFT
    score = drift.Drift(folder, facts).score
    assert score(np.full(8, np.nan, np.float32)) == score(np.full(8, 1e30, np.float32)) == 1e6
    other = replace(facts, world="drift/other.bin")
    content = np.fromfile(folder / facts.world, np.float32)
    (content * np.float32(1.001)).tofile(folder / other.world)
    with pytest.raises(package("errors").Error, match="not computed here as it was") as refusal:
        drift.Drift(folder, other)
    assert refusal.value.code == 9


def test_a_project_without_a_drift_file_cannot_tell(tmp_path: Path) -> None:
    project = generate(CodeRequest(write_meaning(tmp_path / "bare.edgec"), "python", tmp_path / "robot")).directory
    frames = raw(tmp_path / "frames.rgb", reddish(1)[None])
    done = run_frames(project, "--json", frames)
    assert (done.returncode, json.loads(done.stdout)["drift"]) == (0, None)
    done = run_frames(project, "--drift", tmp_path / "drift.json", frames)
    assert (done.returncode, "nothing that tells drift" in done.stderr) == (2, True)


@pytest.mark.parametrize("crop", ["centre", "resize", "pad"])
def test_another_size_is_fitted_as_edgec_run_does(crop: Any, package: Callable[[str], ModuleType]) -> None:
    random = np.random.default_rng(0)
    for rows, columns in ((97, 200), (301, 125), (11, 7), (HEIGHT, WIDTH + 1), (HEIGHT, WIDTH)):
        frame = random.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        assert np.array_equal(package("fit").fit(frame, crop), fit(frame, Size(HEIGHT, WIDTH), crop)), (rows, columns)


@pytest.mark.parametrize(("encoding", "layout"), [("yuv422", "uyvy"), ("yuv422_yuy2", "yuyv")])
def test_yuv_is_read_as_edgec_reads_it_to_a_grey_level(encoding: str, layout: Any, package: Callable[[str], ModuleType]) -> None:
    """In the limited range: beyond it swscale's blue wraps around, from 255 to 0, for Y and U near 255."""
    pytest.importorskip("av", reason="edgec[video] is not installed")
    data = np.random.default_rng(5).integers(16, 236, (64, 256), dtype=np.uint8)
    message = SimpleNamespace(encoding=encoding, height=64, width=126, step=256, data=data.tobytes())
    pixels = package("images").to_rgb(message)
    theirs = yuv.to_rgb(data[:, :252], layout, 64, 126)
    assert np.abs(pixels.astype(int) - theirs).max() <= 1


def test_files_that_are_not_those_that_edgec_wrote_are_refused(meaning: Path, tmp_path: Path) -> None:
    project = generate(CodeRequest(meaning, "python", tmp_path / "robot")).directory
    half = tmp_path / "half.rgb"
    half.write_bytes(b"x" * 1000)
    for code, said, words in (
        (4, "not whole", (half,)),
        (4, "cannot be read", (tmp_path / "none.rgb",)),
        (2, "480x640", ("--frame", "480")),
    ):
        done = run_frames(project, *words)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    shutil.rmtree(project / "build", ignore_errors=True)
    generate(CodeRequest(meaning, "python", project, force=True))  # what Python cached is no change
    (project / "artefact" / ENTRY).unlink()
    done = run_frames(project)
    assert (done.returncode, "No such file" in done.stderr) == (8, True)


def test_names_from_artefacts_are_only_ever_text(tmp_path: Path) -> None:
    """As in C++: Python reads the package, and has the names."""
    for text in HOSTILE:
        assert eval(python_literal(text)) == text
    for name, text in hostile_project(write_meaning(tmp_path / "x.edgec"), cpu_robot_code("onnxruntime")["ros2"]).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        if name.endswith(".py"):
            compile(text, name, "exec")
    names = "import sys; from robot import contract; sys.stdout.buffer.write('\\0'.join(contract.CO_LOUR_CLASSES).encode())"
    done = subprocess.run([sys.executable, "-c", names], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert tuple(done.stdout.decode().split("\0")) == HOSTILE


def test_scores_become_a_classification_with_the_best_first(
    package: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-ins for the messages: no wheel has `vision_msgs`."""
    stand_in = ModuleType("messages")
    stand_in.Image = stand_in.Classification = stand_in.ObjectHypothesis = SimpleNamespace  # type: ignore[attr-defined]
    for name in ("sensor_msgs", "vision_msgs"):
        monkeypatch.setitem(sys.modules, name, stand_in)
        monkeypatch.setitem(sys.modules, f"{name}.msg", stand_in)
    messages, contract = package("messages"), package("contract")
    facts = next(facts for facts in contract.OUTPUTS if facts.member == "colour")
    message = messages.message_of(facts, np.array([1, 3, 2], np.float32), "header", "vision_msgs")
    assert [(each.class_id, each.score) for each in message.results] == [("green", 3), ("blue", 2), ("red", 1)]
    assert message.header == "header"
    assert messages.message_type(facts, "vision_msgs") is stand_in.Classification
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    with pytest.raises(package("errors").Error, match="vision_msgs"):
        messages.message_type(facts, "vision_msgs")
