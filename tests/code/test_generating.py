"""`edgec code`: what is written, where, and what is refused before anything is."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgec.artefact.reading import open_artefact
from edgec.backends.cpu.robot_code import cpu_robot_code
from edgec.backends.robot_code import RobotCode
from edgec.cli.code import code
from edgec.code.contract import contract_of
from edgec.code.generating import CodeRequest, generate
from edgec.code.identifiers import identifier, identifiers, literal, namespace
from edgec.code.model import model_of
from edgec.code.rendering import render
from edgec.durable import sha256_of
from edgec.errors import ArtefactError, RequestError, TargetError
from tests.support import forging
from tests.support.meaning import ENTRY, write_meaning


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return write_meaning(tmp_path / "Red Robot.edgec")


def test_a_project_holds_the_model_and_the_golden_frames(artefact: Path) -> None:
    answer = CliRunner().invoke(code, [str(artefact), "--cpp", "--json"])
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.stdout)
    project = Path(said["directory"])
    assert project == artefact.with_name("Red Robot-cpp")
    assert said["namespace"] == "red_robot"
    assert set(said["files"]) >= {"CMakeLists.txt", "README.md", "src/main.cpp", "include/red_robot/contract.hpp"}
    assert sha256_of(project / "artefact" / ENTRY) == sha256_of(artefact / ENTRY)
    with np.load(artefact / "golden" / "expected_shipped.npz") as golden:
        assert (project / "artefact" / "golden" / "where.bin").read_bytes() == golden["where"].tobytes()
    contract = (project / "include" / "red_robot" / "contract.hpp").read_text()
    assert sha256_of(artefact / ENTRY) in contract
    assert "red = 0," in contract
    readme = (project / "README.md").read_text()
    assert "libonnxruntime-dev" in readme
    assert "no robot has run it yet" in readme


def test_the_same_artefact_gives_the_same_bytes(artefact: Path, tmp_path: Path) -> None:
    places = [generate(CodeRequest(artefact, "cpp", tmp_path / name, name="robot")).directory for name in ("a", "b")]
    contents = [{path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()} for place in places]
    assert contents[0] == contents[1]


def test_only_what_nobody_changed_is_replaced(artefact: Path, tmp_path: Path) -> None:
    request = CodeRequest(artefact, "cpp", tmp_path / "robot")
    forced = CodeRequest(artefact, "cpp", tmp_path / "robot", force=True)
    project = generate(request).directory
    with pytest.raises(ArtefactError, match="exists already"):
        generate(request)
    (project / "build").mkdir()
    (project / "build" / "run-frames").touch()
    generate(forced)
    assert not (project / "build").exists()
    (project / "src" / "main.cpp").write_text("int main() {}\n")
    (project / "src" / "mine.cpp").touch()
    with pytest.raises(ArtefactError, match="was changed since edgec wrote it") as refusal:
        generate(forced)
    assert set(refusal.value.evidence) == {"src/main.cpp was changed", "src/mine.cpp was added"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(ArtefactError, match="not a project of edgec's"):
        generate(CodeRequest(artefact, "cpp", tmp_path / "mine", force=True))
    assert (project / "src" / "mine.cpp").exists()


def test_what_cannot_be_written_leaves_nothing(artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no variant 'fast'"):
        generate(CodeRequest(artefact, "cpp", variant="fast"))
    with pytest.raises(RequestError, match="lies in the artefact"):
        generate(CodeRequest(artefact, "cpp", artefact / "code"))
    answer = CliRunner().invoke(code, [str(artefact)])
    assert isinstance(answer.exception, RequestError)
    other = Path(shutil.copytree(artefact, tmp_path / "mac.edgec"))
    forging.edit(other / "manifest.json", lambda manifest: manifest.update(runtime="coreml", target="apple-m4"))
    with pytest.raises(TargetError, match="no cpp code") as refusal:
        generate(CodeRequest(other, "cpp"))
    assert "apple-m4" in refusal.value.evidence[0]
    content = bytearray((artefact / ENTRY).read_bytes())
    content[len(content) // 2] ^= 1
    (artefact / ENTRY).write_bytes(content)
    with pytest.raises(ArtefactError, match="1 changed"):
        generate(CodeRequest(artefact, "cpp"))
    assert not list(tmp_path.glob("*-cpp"))


HOSTILE = (
    '"; system("x"); //',
    "a\\",
    "*/ int",
    "%: ??/",
    "line\nbreak",
    "地面",
    "class",
    "2 legs",
    "a__b",
    "A",
    "a",
    "\x1b[31m",
    "@{ x }",
)


PRINTS = """
#include <iostream>
#include "robot/contract.hpp"
#include "robot/drift.hpp"
static_assert(!robot::DriftFacts::known, "it has no drift file");
int main() { for (auto name : robot::co_lour_classes) std::cout << name << '\\0'; }
"""


def hostile_project(artefact: Path, code: RobotCode) -> dict[str, str]:
    """A project for an artefact whose classes, outputs and titles would end a literal or a comment: the text of each file."""
    opened = open_artefact(artefact)
    facts, outputs = opened.manifest, list(opened.manifest.outputs)
    renamed = {"colour": 'co"lour*/', "grid": "double"}
    outputs = [each.model_copy(update={"meaning": HOSTILE[0] + "\n#error"}) for each in outputs]
    outputs = [each.model_copy(update={"name": renamed.get(each.name, each.name)}) for each in outputs]
    heads = [facts.heads[0].model_copy(update={"name": 'co"lour*/', "outputs": ('co"lour*/',), "classes": HOSTILE})]
    checkpoint = facts.checkpoint.model_copy(update={"name": "x */ \\\n#error"})
    manifest = facts.model_copy(update={"outputs": tuple(outputs), "heads": tuple(heads), "checkpoint": checkpoint})
    size = opened.sizes[0]
    shipped = {renamed.get(name, name): value for name, value in size.golden.expected_shipped.items()}
    golden = replace(size.golden, expected_shipped=shipped)
    sizes = (replace(size, facts=size.facts.model_copy(update={"outputs": tuple(outputs)}), golden=golden),)
    hostile = replace(opened, manifest=manifest, sizes=sizes)
    contract = contract_of(hostile, model_of(hostile, None), code, "robot")
    return render(code, contract.context)


def test_names_from_artefacts_are_only_ever_text(artefact: Path, tmp_path: Path) -> None:
    """Classes, outputs and titles that would end a literal or a comment. The compiler reads the headers, and prints the names."""
    for name, text in hostile_project(artefact, cpu_robot_code("onnxruntime")["cpp"]).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "main.cpp").write_text(PRINTS)
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    words = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-Iinclude", "main.cpp", "-o", "names"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    printed = subprocess.run([tmp_path / "names"], capture_output=True, check=True, timeout=10).stdout
    assert tuple(printed.decode().split("\0")[:-1]) == HOSTILE


def test_names_that_cpp_can_have() -> None:
    assert [identifier(name, "class_3") for name in ("floor", "class", "地面", "2 legs", "a__b", "_x")] == [
        "floor", "class_", "class_3", "class_2_legs", "a_b", "x",
    ]  # fmt: skip
    assert identifiers(["a b", "a-b", "", "?"], "class") == ["a_b", "a_b_1", "class_2", "class_3"]
    assert [namespace(name) for name in ("Robot", "std", "---", "7")] == ["robot", "std_model", "model", "model_7"]
    assert literal('a"\\\n\0é?') == r'"a\042\134\012\000\303\251\077"'
