"""The package for Isaac ROS: its graph takes float32 planes and computes the same; its launch file never lets a plan be made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgec.code.generating import CodeRequest, generate
from edgec.errors import RequestError
from tests.code.test_tensorrt import write_tensorrt

TRTEXEC = """#!{python}
# In the place of NVIDIA's: ONNX Runtime runs the graph, and the "plan" is a copy of it.
import json, pathlib, shutil, sys
import numpy as np, onnxruntime
flags = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
if "stronglyTyped" in flags:
    print("[E] Unknown option: --stronglyTyped")
    sys.exit(1)
if "onnx" in flags:
    shutil.copy(flags["onnx"], flags["saveEngine"])
    sys.exit()
session = onnxruntime.InferenceSession(flags["loadEngine"])
(given,) = session.get_inputs()
name, _, path = flags["loadInputs"].partition(":")
frames = np.fromfile(path, np.float32).reshape(given.shape)
names = [each.name for each in session.get_outputs()]
answers = zip(names, session.run(names, {{name: frames}}))
written = [{{"name": name, "values": [float(value) for value in values.ravel()]}} for name, values in answers]
pathlib.Path(flags["exportOutput"]).write_text(json.dumps(written))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return generate(CodeRequest(write_tensorrt(tmp_path / "robot.edgec", "jetson"), "isaac")).directory


def make_plan(project: Path, trtexec: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "robot.make_plan"]
    environment = {**os.environ, "TRTEXEC": trtexec}
    return subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_a_plan_is_made_and_checked_with_the_golden_frames(project: Path, tmp_path: Path) -> None:
    trtexec, plan = tmp_path / "trtexec", project / "artefact" / "model" / "float32-nchw.plan"
    trtexec.write_text(TRTEXEC.format(python=sys.executable))
    trtexec.chmod(0o755)
    done = make_plan(project, str(trtexec))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(plan)
    # The graph itself is the same on both sides: nothing moved at all.
    assert done.stdout.count("largest difference 0 ") == 5, done.stdout
    assert "where: 100 % of its labels" in done.stdout
    assert not (project / "artefact" / "runtime").exists()

    trtexec.write_text(TRTEXEC.format(python=sys.executable).replace("float(value)", "1 - float(value)"))
    done = make_plan(project, str(trtexec))
    assert (done.returncode, plan.exists()) == (9, False), done.stderr
    done = make_plan(project, str(tmp_path / "none"))
    assert (done.returncode, "There is no trtexec" in done.stderr) == (10, True)


def test_the_launch_file_connects_the_nodes_and_never_makes_a_plan(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executed with classes that only remember what they were given."""

    def remember(*given: Any, **named: Any) -> dict[str, Any]:
        return {"given": given, **named}

    for name in (
        "launch",
        "launch.actions",
        "launch.substitutions",
        "launch_ros",
        "launch_ros.actions",
        "launch_ros.descriptions",
    ):
        module = ModuleType(name)
        for each in (
            "LaunchDescription",
            "DeclareLaunchArgument",
            "LaunchConfiguration",
            "ComposableNodeContainer",
            "ComposableNode",
        ):
            setattr(module, each, remember)
        monkeypatch.setitem(sys.modules, name, module)
    space: dict[str, Any] = {}
    exec((project / "launch" / "robot.launch.py").read_text(), space)
    *_, container = space["generate_launch_description"]()["given"][0]
    nodes = {node["name"]: node for node in container["composable_node_descriptions"]}
    engine = nodes["tensor_rt"]["parameters"][0]
    assert engine["force_engine_update"] is False
    assert engine["engine_file_path"]["given"] == ("plan",)
    assert engine["input_binding_names"] == ["frames"]
    assert engine["output_binding_names"] == ["cls", "patches", "colour", "where", "bright", "grid"]
    assert nodes["reshape"]["parameters"][0]["output_tensor_shape"] == [1, 3, 32, 48]
    given = {"image", "tensor_pub"}
    for node in nodes.values():
        given |= {str(to) for _, to in node["remappings"]}
    assert {"interleaved", "planar", "tensor_pub", "tensors"} <= given


def test_batches_have_no_such_form(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no form with float32 planes"):
        generate(CodeRequest(write_tensorrt(tmp_path / "robot.edgec", "jetson", 2), "isaac"))
