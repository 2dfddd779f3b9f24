"""The Swift package for Apple artefacts: parsed by Swift's own compiler where it is, and its self-test run with stand-ins for
what only Apple's systems have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.backends.apple.robot_code import apple_robot_code
from edgec.code.generating import CodeRequest, Project, generate
from edgec.code.identifiers import swift_literal, swift_name
from tests.code.test_generating import HOSTILE, hostile_project
from tests.support import forging
from tests.support.meaning import HEIGHT, WIDTH, write_meaning

HERE = Path(__file__).with_name("apple")
PACKAGE = "model/fp32.mlpackage"
MODULES = ("CoreVideo", "CryptoKit", "CoreML")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Of an artefact in batches of two, whose package is one for the stand-in."""
    folder = tmp_path_factory.mktemp("swift")
    artefact = write_meaning(folder / "robot.edgec", batch=2)
    facts = json.loads((artefact / "manifest.json").read_text())
    golden = folder / "robot-swift" / "artefact" / "golden"
    lines = [f"stand-in {golden} frames_0 frames_1"]
    lines += [f"{each['name']} {each['dtype']} {' '.join(map(str, each['shape']))}" for each in facts["outputs"]]
    (artefact / PACKAGE / "Data").mkdir(parents=True)
    (artefact / PACKAGE / "model.txt").write_text("\n".join(lines) + "\n")
    (artefact / PACKAGE / "Manifest.json").write_text("{}")
    (artefact / PACKAGE / "Data" / "weight.bin").write_bytes(b"weights")
    shutil.rmtree(artefact / "runtime")
    entry = f"{PACKAGE}/Manifest.json"
    forging.edit(
        artefact / "manifest.json",
        lambda manifest: manifest.update(runtime="coreml", target="apple", entry=entry),
    )
    forging.list_again(artefact)
    return generate(CodeRequest(artefact, "swift"))


@pytest.fixture(scope="module")
def swiftc(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """What the compiler says; the words are its arguments."""
    if shutil.which("swiftc") is None:
        pytest.skip("no swiftc here")

    def call(*words: str | Path, cwd: Path) -> str:
        done = subprocess.run(
            ["swiftc", *map(str, words)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    return call


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.swift"))


def test_a_package_holds_all_of_core_mls_files(project: Project) -> None:
    here = {path.relative_to(project.directory).as_posix() for path in project.directory.rglob("*") if path.is_file()}
    assert {f"artefact/{PACKAGE}/Manifest.json", f"artefact/{PACKAGE}/Data/weight.bin", "artefact/golden/frames.bin"} <= here
    assert {"Package.swift", "Sources/robot/Contract.swift", "Tests/robotTests/GoldenFramesTests.swift"} <= here
    contract = (project.directory / "Sources" / "robot" / "Contract.swift").read_text()
    assert '["frames_0", "frames_1"]' in contract
    assert "public let where_: [Int32]" in contract
    assert "No Mac and no phone has run" in (project.directory / "README.md").read_text()


def test_swift_parses_every_file(project: Project, swiftc: Callable[..., str]) -> None:
    swiftc("-parse", *sources(project.directory), cwd=project.directory)


def test_names_from_artefacts_are_only_ever_text(swiftc: Callable[..., str], tmp_path: Path) -> None:
    """Compiled too: the contract needs nothing of Apple's."""
    code = apple_robot_code("coreml")["swift"]
    for name, text in hostile_project(write_meaning(tmp_path / "x.edgec"), code).items():
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).write_text(text)
    swiftc("-parse", *sources(tmp_path / "x"), cwd=tmp_path)
    own = tmp_path / "x" / "Sources" / "robot"
    (tmp_path / "main.swift").write_text('print(CoLourClass.names.joined(separator: "\\0"), terminator: "")\n')
    swiftc(own / "Contract.swift", own / "Facts.swift", tmp_path / "main.swift", "-o", tmp_path / "names", cwd=tmp_path)
    printed = subprocess.run([tmp_path / "names"], capture_output=True, check=True, timeout=10).stdout
    assert tuple(printed.decode().split("\0")) == HOSTILE


def test_the_golden_frames_decide(project: Project, swiftc: Callable[..., str], tmp_path: Path) -> None:
    for name in MODULES:
        swiftc("-emit-library", "-emit-module", "-module-name", name, "-I.", "-L.",
               *(f"-l{other}" for other in MODULES[: MODULES.index(name)]), HERE / f"{name}.swift", cwd=tmp_path)  # fmt: skip
    linked = [f"-l{name}" for name in MODULES]
    own = sources(project.directory / "Sources" / "robot")
    # Where SwiftPM puts resources is none of this: the test names the folder.
    (tmp_path / "Bundle.swift").write_text("import Foundation\nextension Bundle { static var module: Bundle { .main } }\n")
    words = ["-emit-library", "-emit-module", "-module-name", "robot", "-I.", "-L."]
    swiftc(*words, *linked, *own, tmp_path / "Bundle.swift", cwd=tmp_path)
    path = ["-Xlinker", "-rpath", "-Xlinker", tmp_path]
    swiftc("-I.", "-L.", "-lrobot", *linked, *path, HERE / "main.swift", "-o", "program", cwd=tmp_path)

    def said(artefact: Path, **more: str) -> list[str]:
        done = subprocess.run(
            [tmp_path / "program", artefact], env={**os.environ, **more}, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    whole = project.directory / "artefact"
    ready, refused, *_ = said(whole)
    assert ready == f"ready, 6 outputs, {2 * HEIGHT * WIDTH} labels, green"
    assert refused.startswith("4 A frame is not what the model takes.")
    assert said(whole, STANDIN_ZEROS="1")[0].startswith("9 The model does not compute here")
    changed = Path(shutil.copytree(whole, tmp_path / "changed"))
    (changed / PACKAGE / "Data" / "weight.bin").write_bytes(b"Weights")
    assert said(changed)[0].startswith("8 The model's files are not those")


def test_texts_and_names_as_swift_has_them() -> None:
    assert swift_literal('a"\\(x)\né\ud800') == '"a\\u{22}\\u{5C}(x)\\u{A}\\u{E9}\\u{FFFD}"'
    assert [swift_name(name) for name in ("where", "floor", "init", "class_")] == ["where_", "floor", "init_", "class_"]
