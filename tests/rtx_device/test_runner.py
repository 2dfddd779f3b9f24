"""Jobs of NVIDIA's code with NVIDIA's own packages, as far as they go without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgec.building import BuildResult
from tests.support.gpu import environment


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The stand-in for the driver's library, and nothing else."""
    return environment(tmp_path_factory.mktemp("driver"))


def ask(program: Path, folder: Path, job: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, str(program), "--runner", "job.json"]
    subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, timeout=120, check=False)
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    return answer


def test_without_a_driver_cuda_bindings_say_so(program: Path, tmp_path: Path) -> None:
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    if "gpu" in ask(program, tmp_path, {"do": "look"}, {}):
        pytest.skip("there is a GPU here")
    assert "NVIDIA display driver" in ask(program, tmp_path, {"do": "look"}, {})["error"]


def test_the_real_compiler_is_chosen_and_compiles_for_the_gpu_that_is_there(
    program: Path, tmp_path: Path, driver: dict[str, str], built: BuildResult
) -> None:
    looked = ask(program, tmp_path, {"do": "look"}, driver)
    assert (looked["module"], looked["gpu"]) == ("tensorrt_rtx_bindings", "edgec stand-in GPU")
    job = {"do": "build", "graph": str(built.directory / "model" / "fp16.onnx"), "plan": "engine.plan", "tf32": False}
    assert ask(program, tmp_path, job, driver) == {}
    assert (tmp_path / "engine.plan").read_bytes().startswith(b"vtrt")
    # Loading it needs CUDA's runtime, which finds out that the driver is none.
    assert "error" in ask(program, tmp_path, {"do": "load", "plan": "engine.plan"}, driver)


def test_the_parser_s_own_words_come_back(program: Path, tmp_path: Path, driver: dict[str, str]) -> None:
    (tmp_path / "graph.onnx").write_bytes(b"no graph")
    job = {"do": "build", "graph": "graph.onnx", "plan": "engine.plan", "tf32": True}
    assert ask(program, tmp_path, job, driver)["error"]
    assert not (tmp_path / "engine.plan").exists()
