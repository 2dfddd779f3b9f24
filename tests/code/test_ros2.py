"""The ROS 2 node with the real rclpy and DDS, in a network of its own: a played bag is answered as `edgec run` answers it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.arm64.debian import Unavailable
from benchmarks.ros2 import ros2
from edgec.code.generating import CodeRequest, generate
from edgec.running.request import RunRequest
from edgec.running.running import run
from tests.running.conftest import Told, reddish
from tests.support import bags
from tests.support.meaning import ENTRY, HEIGHT, WIDTH, write_meaning

pytest.importorskip("rosbags", reason="edgec[ros] is not installed")

EXACT = 4
"""Frames whose pixels both sides read alike; those in YUV come after them."""
TOPICS = ("cls", "patches", "colour", "where", "bright", "grid")


def pictures() -> list[bags.Message]:
    """Smooth, so that grey is no mosaic: rgb8 of the model's size and of another one, bgr8 with a stride, mono8, yuv422."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    picture = np.stack([4 * rows, 255 - 4 * columns, 2 * rows + 3 * columns], axis=-1).astype(np.uint8)
    wide = np.repeat(np.repeat(picture, 3, axis=0), 4, axis=1)
    padded = np.pad(picture[..., ::-1].reshape(HEIGHT, -1), ((0, 0), (0, 20)))
    yuv = np.stack([picture[..., 0], picture[..., 1]], axis=-1).reshape(HEIGHT, -1)
    every = [
        bags.rgb(picture), bags.rgb(wide), bags.image(padded, "bgr8", HEIGHT, WIDTH),
        bags.image(picture[..., 2], "mono8", HEIGHT, WIDTH), bags.image(yuv, "yuv422", HEIGHT, WIDTH),
    ]  # fmt: skip
    return [bags.Message(each.fields, bags.BEGIN_NS + number * bags.SECOND_NS) for number, each in enumerate(every)]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_meaning(tmp_path_factory.mktemp("ros2") / "camera.edgec", like=[reddish(seed) for seed in range(40)])


@pytest.fixture(scope="module")
def bag(artefact: Path) -> Path:
    return bags.write_bag(artefact.with_name("walk"), pictures())


@pytest.fixture(scope="module")
def heard(artefact: Path, bag: Path) -> dict[str, Any]:
    """What the node said, and its answers as arrays [frames, height, width, channels] by topic."""
    try:
        environment = ros2()
    except Unavailable as problem:
        pytest.skip(f"no ROS 2 here: {problem}")
    project = generate(CodeRequest(artefact, "ros2"))
    folder = artefact.parent
    damaged = Path(shutil.copytree(project.directory / "artefact", folder / "damaged"))
    content = bytearray((damaged / ENTRY).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / ENTRY).write_bytes(content)
    mosaic = np.zeros((HEIGHT, WIDTH), np.uint8)
    odd = [bags.image(mosaic, "bayer_rggb8", HEIGHT, WIDTH), bags.image(mosaic, "rgb8", HEIGHT, WIDTH)]
    plan = {
        "project": str(project.directory),
        "package": project.namespace,
        "bag": str(bag),
        "refused": str(bags.write_bag(folder / "odd", odd)),
        "damaged": str(damaged),
        "topics": TOPICS,
        "parameters": [
            *("scores_as:=image", "reliability:=reliable", "depth:=10", "diagnostics_period_s:=0.1", "threads:=1"),
            f"drift_frames:={folder / 'ring'}",
        ],
        "answers": str(folder / "answers.npz"),
        "heard": str(folder / "heard.json"),
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    done = environment.run([Path(__file__).with_name("ros2") / "player.py", folder / "plan.json"], path=[project.directory])
    assert done.returncode == 0, done.stderr
    with np.load(folder / "answers.npz") as answers:
        return {**json.loads((folder / "heard.json").read_text()), "answers": dict(answers), "log": done.stderr}


def test_a_played_bag_gives_what_edgec_run_gives(heard: dict[str, Any], artefact: Path, bag: Path, tmp_path: Path) -> None:
    run(RunRequest(artefact, str(bag), features=tmp_path / "all.npz", threads=1), Told())
    answers: dict[str, NDArray[Any]] = heard["answers"]
    with np.load(tmp_path / "all.npz") as archive:
        expected = {name: archive[name] for name in TOPICS}
    assert len(expected["cls"]) == len(pictures())
    for name in TOPICS:
        actual = answers[name].reshape(expected[name].shape)
        assert np.array_equal(actual[:EXACT], expected[name][:EXACT]), name
    # Both round colours in YUV, to a grey level.
    assert np.abs(answers["bright"][EXACT:, ..., 0] - expected["bright"][EXACT:]).max() <= 1
    assert heard["encodings"] == {
        "cls": "32FC8", "patches": "32FC8", "colour": "32FC3", "where": "mono8", "bright": "32FC1", "grid": "32FC3",
    }  # fmt: skip
    assert answers["patches"].shape[1:] == (2, 3, 8)
    assert heard["frame_id"] == "camera"


def test_images_that_are_unlike_the_calibration_frames_are_on_diagnostics(
    heard: dict[str, Any], artefact: Path, bag: Path
) -> None:
    told = Told()
    run(RunRequest(artefact, str(bag), threads=1), told)
    scores = [done.drift for done in told.frames if done.drift is not None]
    values = heard["values"]
    # The node rounds YUV to a grey level otherwise.
    assert float(values["drift largest"]) == pytest.approx(max(scores), rel=1e-5 if max(scores) in scores[:EXACT] else 1e-2)
    assert float(values["drift"]) == pytest.approx(scores[-1], rel=1e-2)
    assert int(values["drift alarms"]) >= sum(score > 1 for score in scores) > 0
    kept = [json.loads(path.read_text()) for path in (artefact.parent / "ring").glob("*.json")]
    assert 1 <= len(kept) == int(values["drift frames kept"]) <= int(values["drift alarms"])
    assert {line["source"].split()[0] for line in kept} == {"camera"}
    assert heard["alarmed"]


def test_only_a_node_whose_model_was_checked_becomes_active(heard: dict[str, Any]) -> None:
    assert heard["states"] == [
        "unconfigured", [True, "inactive"], [True, "active"], [True, "inactive"], [True, "unconfigured"], [False, "unconfigured"],
    ]  # fmt: skip
    level, message, problem = heard["problem"]
    assert (level, message) == (2, "The model's files are not those that this program is for.")
    assert ENTRY in problem
    assert "golden frames as recorded" in heard["log"]
    assert heard["ended"] == 0


def test_images_that_cannot_be_used_are_refused_by_name_and_counted(heard: dict[str, Any]) -> None:
    encoding, short = heard["refusals"]
    assert "'bayer_rggb8'" in encoding
    assert "rgb8, bgr8" in encoding
    assert "32x48 in rgb8, 48 bytes a row" in short
    values = heard["values"]
    assert int(values["frames"]) >= len(pictures())
    assert (int(values["refused"]) >= 2, values["failed"]) == (True, "0")
    assert float(values["work p50 (ms)"]) <= float(values["work longest (ms)"])
    assert "lowest cosine" in values["self-test 0"]
