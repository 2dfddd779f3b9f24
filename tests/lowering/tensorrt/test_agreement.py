"""edgec's rules and NVIDIA's own parser and compiler agree on graphs that are wrong in one way each, or the reason is here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgec.errors import EdgecError
from edgec.lowering.tensorrt.check import check_graph, read_graph
from edgec.lowering.tensorrt.compiler import machines
from tests.lowering.tensorrt.broken import BROKEN
from tests.support.commands import SECONDS

pytestmark = pytest.mark.skipif(not machines.availability().available, reason="NVIDIA's compiler is not installed")

EXCEPTIONS = {
    "an open batch": "refused without an optimisation profile, which trtexec adds by itself: a warning says what it sets",
    "scales in fp16 and opset 17": "accepted, though ONNX has these from opset 19 on: ONNX's own checker refuses it",
    "infinity in fp16": "accepted, and computes NaN: the rule is about values",
    "opset 26": "accepted as far as its operators are known: the rule is NVIDIA's word on opsets",
}
"""Where an error of the rules and a refusal of the compiler are not the same, and why."""
NO_DRIVER = "Error Code 1: Cuda Runtime ("
"""Where TensorRT-RTX 1.4 stops with a graph that holds int8: it parses it, and builds it with a driver alone. 1.5, 1.6 and 1.7
need none. (All four were tried, each installed in turn.)"""
EVERY = """
import json, sys
from edgec.lowering.tensorrt.compiler.worker import compile_graph
for path in sys.argv[2:]:
    with open(sys.argv[1], "a") as answers:
        answers.write(json.dumps([path, compile_graph(path, "86")["errors"]]) + "\\n")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("broken")
    files = {name: folder / f"{index}.onnx" for index, name in enumerate(BROKEN)}
    for name, path in files.items():
        onnx.save(BROKEN[name](), path)
    whole = files["nothing"].read_bytes()
    files |= {"a truncated file": folder / "half.onnx", "no model": folder / "picture.onnx"}
    files["a truncated file"].write_bytes(whole[: len(whole) // 2])
    files["no model"].write_bytes(b"\x89PNG\r\n" + bytes(1000))
    files["weights that are missing"] = folder / "apart.onnx"
    onnx.save(
        BROKEN["nothing"](), files["weights that are missing"], save_as_external_data=True, location="apart", size_threshold=0
    )
    (folder / "apart").unlink()
    return files


@pytest.fixture(scope="module")
def errors(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the compiler has against each, all of them in one process: none of them crashes it."""
    answers = tmp_path_factory.mktemp("answers") / "answers"
    command = [sys.executable, "-c", EVERY, str(answers), *map(str, files.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = dict(map(json.loads, answers.read_text().splitlines()))
    return {name: said[str(path)] for name, path in files.items()}


def refused_by_the_rules(path: Path) -> list[str]:
    core = machines.core_of(machines.installed_version())
    try:
        return [violation.rule.id for violation in check_graph(read_graph(path), (core,)) if violation.is_error]
    except EdgecError as error:
        return [str(error)]


@pytest.mark.parametrize("name", [*BROKEN, "a truncated file", "no model", "weights that are missing"])
def test_rules_and_compiler_agree(name: str, files: dict[str, Path], errors: dict[str, list[str]]) -> None:
    rules = refused_by_the_rules(files[name])
    if machines.installed_version().startswith("1.4.") and any(NO_DRIVER in error for error in errors[name]):
        pytest.skip("TensorRT-RTX 1.4 builds a graph with int8 only where there is a driver")
    agree = bool(rules) == bool(errors[name])
    assert agree != (name in EXCEPTIONS), (rules, errors[name], EXCEPTIONS.get(name))
