"""Boards of a fleet, and releases for them: two artefacts of one name that differ in their float32 graph, one newer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edgec.artefact.contents import build_manifest_files
from edgec.cli import run
from tests.boards.loopback import LATENCY, SSHD, Keys, write_artefact, write_manifest
from tests.device.robot import Robot, write_facts
from tests.fleet.loopback import LoopbackFleet

Said = Callable[..., tuple[int, str, str]]
Start = Callable[..., LoopbackFleet]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("there is no OpenSSH server here: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_facts(tmp_path_factory.mktemp("facts"))


@pytest.fixture(scope="session")
def memo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memo")


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_artefact(tmp_path_factory.mktemp("older") / "small.edgec")


@pytest.fixture(scope="session")
def newer(older: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next release: int8 and fp16 are other files, which compute the same. Not to be changed."""
    folder = Path(shutil.copytree(older, tmp_path_factory.mktemp("newer") / "small.edgec"))
    return renewed(folder, "cd", "int8", "fp16")


def events(out: str, kind: str) -> list[dict[str, Any]]:
    """Those of this kind, of what a command with --json printed."""
    parsed = [json.loads(line) for line in out.splitlines()]
    return [event for event in parsed if event["event"] == kind]


def renewed(artefact: Path, key: str, *graphs: str) -> Path:
    """The artefact as another build, with other graphs: the name inside of each is spelled otherwise."""
    for name in graphs:
        path = artefact / "model" / f"{name}.onnx"
        path.write_bytes(path.read_bytes().replace(name.encode(), name.upper().encode()))
    said = artefact / "device" / "bundle.json"
    document = json.loads(said.read_text())
    document["build_key"] = key * 32
    document["gate"] = dict.fromkeys(document["gate"], 0.8)
    document["budget"] = {"min_fidelity": 0.8, "min_agreement": None, "min_iou": None, "max_depth_error": None}
    files = {file.path: file for file in build_manifest_files(artefact)}
    document["files"] = [files[entry["path"]].model_dump() for entry in document["files"]]
    said.write_text(json.dumps(document))
    return write_manifest(artefact)


def activated(artefact: Path, facts: Path, memo: Path, root: Path) -> Path:
    """The artefact is active under this root, by the program itself."""
    robot = Robot(artefact, facts, root, env={"STANDIN_MEMO": str(memo), "STANDIN_LATENCY": LATENCY})
    done = robot.run("run-all")
    assert done.code == 0, done
    return root


@pytest.fixture(scope="session")
def older_root(older: Path, facts: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies on a board on which `older` is active. Not to be changed."""
    return activated(older, facts, memo, tmp_path_factory.mktemp("root") / "edgec")


@pytest.fixture(scope="session")
def ready_root(older_root: Path, newer: Path, facts: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after `newer` was active there and was taken back: it needs no building. Not to be changed."""
    root = tmp_path_factory.mktemp("ready") / "edgec"
    shutil.copytree(older_root, root, symlinks=True)
    activated(newer, facts, memo, root)
    assert Robot(newer, facts, root).run("rollback").code == 0
    return root


@pytest.fixture
def fleet(
    keys: Keys, facts: Path, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., LoopbackFleet]]:
    """Starts a fleet of so many boards; what is known of rollouts is the test's own."""
    monkeypatch.setenv("EDGEC_STATE_DIR", str(tmp_path / "state"))
    with ExitStack() as stack:

        def start(count: int, root: Path | None = None) -> LoopbackFleet:
            boards = stack.enter_context(LoopbackFleet(keys, tmp_path / "boards", facts, count, {"STANDIN_MEMO": str(memo)}))
            for number in range(1, count + 1) if root else ():
                shutil.copytree(root, boards.root(number), symlinks=True)
            return boards

        yield start


@pytest.fixture
def work(newer: Path, tmp_path: Path) -> Path:
    """A copy of `newer`, beside which reports may be written."""
    return Path(shutil.copytree(newer, tmp_path / "work" / "small.edgec"))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs one command in this process: exit code, standard output, standard error."""

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(each) for each in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err, said.err
        return code, said.out, said.err

    return command
