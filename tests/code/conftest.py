"""Projects for real models, and the programs that CMake makes of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from benchmarks.arm64.debian import Unavailable
from benchmarks.arm64.machine import machine
from benchmarks.programs import Program, build_program
from edgec.building import build
from edgec.code.generating import CodeRequest, Project, generate
from edgec.request import BuildRequest
from tests.running.conftest import reddish
from tests.support import heads
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.meaning import write_meaning
from tests.support.models import SMALL

VARIANTS = {"onnxruntime": None, "openvino": "openvino-fp32"}
"""The graph of each runtime in the artefact: its entry, and another one."""
PROFILE = """
extends = "cpu-raspberry-pi-5"
name = "courier"
[precisions]
fp32 = ["openvino"]
int8 = ["onnxruntime"]
"""


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT with three heads, built here for a Raspberry Pi 5: it holds a graph for each runtime, which run on both machines."""
    folder = tmp_path_factory.mktemp("robot")
    checkpoint = save_checkpoint(folder / "checkpoint")
    for make in (heads.linear, heads.segmentation, heads.mlp):
        make(folder, 64)
    (folder / "courier.toml").write_text(PROFILE)
    return build(
        BuildRequest(
            str(checkpoint), target=str(folder / "courier.toml"), calibration=str(draw_pictures(folder / "frames")),
            size=SMALL, iterations=3, min_fidelity=0.9, output=folder / "robot.edgec",
            heads=tuple(f"{name}={folder / name}.safetensors" for name in ("kind", "floor", "grasp")),
        )
    ).directory  # fmt: skip


@pytest.fixture(scope="session")
def projects(artefact: Path) -> Callable[[str], Project]:
    """By runtime."""

    @cache
    def project(runtime: str) -> Project:
        output = artefact.parent / f"{runtime}-cpp"
        return generate(CodeRequest(artefact, "cpp", output, VARIANTS[runtime]))

    return project


@pytest.fixture(scope="session")
def programs(projects: Callable[[str], Project]) -> Callable[..., Program]:
    """By runtime, for this machine or the emulated one. Skips where they cannot be built."""

    @cache
    def program(runtime: str, *, arm64: bool = False) -> Program:
        project = projects(runtime)
        try:
            return build_program(
                project.directory, runtime, project.directory.with_suffix(".arm64" if arm64 else ".build"),
                machine=machine() if arm64 else None,
            )  # fmt: skip
        except Unavailable as problem:
            pytest.skip(f"{'an arm64' if arm64 else 'a C++'} program cannot be built: {problem}")

    return program


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact in batches of two, whose heads read colours, calibrated on reddish frames: it has every kind of output."""
    folder = tmp_path_factory.mktemp("pairs")
    return write_meaning(folder / "two.edgec", batch=2, like=[reddish(seed) for seed in range(40)])


@pytest.fixture(scope="session")
def consumer(pairs: Path) -> Program:
    """A robot's own program around `pairs`, beside the project's own `run-frames`."""
    project = generate(CodeRequest(pairs, "cpp"))
    try:
        return build_program(
            Path(__file__).with_name("consumer"), "onnxruntime", pairs.with_name("build"),
            target="consumer", options=[f"-DPROJECT={project.directory}"],
        )  # fmt: skip
    except Unavailable as problem:
        pytest.skip(f"a C++ program cannot be built: {problem}")
