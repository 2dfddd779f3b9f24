"""A small checkpoint of `transformers`' own making, pictures in a folder, and one build of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgec.building import BuildResult, build
from edgec.progress import Step
from edgec.request import BuildRequest
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures
from tests.support.models import SMALL


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`checkpoint/`, `frames/` and three profiles, each of one runtime."""
    folder = tmp_path_factory.mktemp("build")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    save_profile(folder / "plain.toml", {"fp32": ["onnxruntime"]})
    save_profile(folder / "ort.toml", {"fp32": ["onnxruntime"], "int8": ["onnxruntime"]})
    save_profile(folder / "ov.toml", {"fp32": ["openvino"], "bf16": ["openvino"], "int8": ["openvino"]})
    return folder


@pytest.fixture
def ask(inputs: Path, tmp_path: Path) -> BuildRequest:
    """The cheapest build: one runtime, float32."""
    return BuildRequest(
        str(inputs / "checkpoint"),
        target=str(inputs / "plain.toml"),
        calibration=str(inputs / "frames"),
        size=SMALL,
        iterations=5,
        output=tmp_path / "made.edgec",
    )


class Recorder:
    """Writes down what a build tells of its progress."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def settings(self, rows: Sequence[tuple[str, str]]) -> None:
        self.told.append(("settings", dict(rows)))

    @contextmanager
    def stage(self, title: str, total: int | None = None, *, alone: bool = False) -> Iterator[Step]:
        self.told.append(("begin", (title, total)))
        done = 0

        def step(count: int = 1, doing: str = "") -> None:
            nonlocal done
            done += count

        def call(done: int = 1, doing: str = "") -> None:
            step(done, doing)

        yield call
        self.told.append(("end", (title, done)))

    def note(self, text: str) -> None:
        self.told.append(("note", text))


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def built(inputs: Path, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """Everything that the host's own target offers; its cache was empty: stages that are found in one report no steps."""
    request = BuildRequest(
        str(inputs / "checkpoint"),
        calibration=str(inputs / "frames"),
        size=SMALL,
        iterations=10,
        output=tmp_path_factory.mktemp("built") / "whole.edgec",
        min_fidelity=0.95,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEC_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return build(request, recorder)
