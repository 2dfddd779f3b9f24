"""`edgec deploy` of what is signed, to a board behind a real OpenSSH server: the key is placed once, and decides from then on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("model_signing", reason="edgec[bundle] is not installed")

from edgec.backends.jetson.program import PROGRAM
from tests.boards.conftest import Said
from tests.boards.loopback import NAME, Board, write_manifest
from tests.device.releases import Key, as_file, list_again, sign, signed
from tests.device.robot import check_whole


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return Key.new(tmp_path_factory.mktemp("signing"), "release")


@pytest.fixture(scope="session")
def next_key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return Key.new(tmp_path_factory.mktemp("signing"), "next")


@pytest.fixture(scope="session")
def bundle(built: Path, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release 1.4.0 as one file. Not to be changed."""
    return as_file(signed(built, tmp_path_factory.mktemp("bundle") / "small", key))


@pytest.fixture
def release(bundle: Path, tmp_path: Path) -> Path:
    """A test's own, beside which reports may be written."""
    (tmp_path / "work").mkdir(exist_ok=True)
    return Path(shutil.copy(bundle, tmp_path / "work"))


@pytest.fixture
def running(deployed_root: Path, board: Board) -> Board:
    """An engine of the same artefact is active on it, unsigned."""
    shutil.copytree(deployed_root, board.root, symlinks=True)
    return board


def placed(board: Board) -> str:
    """The keys on the board."""
    return "".join(path.read_text() for path in sorted((board.root / "trust").glob("*.pem")))


def test_the_key_comes_along_once_and_counts_from_then_on(
    running: Board, release: Path, artefact: Path, key: Key, say: Said
) -> None:
    code, _, err = say(running.deploy(release, "--trust", key.public))
    assert code == 0, err
    assert "robot 1.4.0, serial 10400, signed by key" in err
    assert f"key kept in {running.root}/trust/deployed.pem" in err
    assert placed(running).strip() == key.public.read_text().strip()
    assert release.with_name(f"small.{running.label}.report.json").exists()
    check_whole(running.robot(artefact))

    code, _, err = say(running.deploy(artefact))
    assert code == 19
    assert "is not signed, and this board takes only what is" in err

    code, out, err = say([*running.deploy(release, "--trust", key.public, "--status"), "--json"])
    assert code == 0, err
    assert json.loads(out)[0]["answer"]["current"]["release"]["version"] == "1.4.0"
    code, _, err = say(["bench", str(release), "--on", running.address, *running.options, "--trust", str(key.public)])
    assert code == 0, err


def test_a_bundle_needs_a_key_here(running: Board, release: Path, next_key: Key, say: Said) -> None:
    code, _, err = say(running.deploy(release))
    assert code == 2
    assert "is a bundle, and no key is trusted" in err
    code, _, err = say(running.deploy(release, "--trust", next_key.public))
    assert code == 19
    assert "which is not trusted" in err
    assert placed(running) == ""


def test_a_key_is_replaced_by_a_release_that_the_old_one_signed(
    running: Board, release: Path, built: Path, key: Key, next_key: Key, tmp_path: Path, say: Said
) -> None:
    """Old and new come with what the old key signed; then the new one alone. In between nothing else is taken."""
    theirs = signed(built, tmp_path / "theirs", next_key, "1.5.0")
    assert say(running.deploy(release, "--trust", key.public))[0] == 0
    code, _, err = say(running.deploy(theirs, "--trust", next_key.public))
    assert code == 19, err
    assert placed(running).strip() == key.public.read_text().strip()
    assert say(running.deploy(release, "--trust", key.public, "--trust", next_key.public))[0] == 0
    assert say(running.deploy(theirs, "--trust", next_key.public))[0] == 0
    assert placed(running).strip() == next_key.public.read_text().strip()
    code, _, err = say(running.deploy(release, "--trust", key.public))
    assert code == 19, err


def test_an_older_release_is_refused(running: Board, built: Path, release: Path, key: Key, tmp_path: Path, say: Said) -> None:
    assert say(running.deploy(release, "--trust", key.public))[0] == 0
    older = signed(built, tmp_path / "older", key, "1.3.0")
    code, _, err = say(running.deploy(older))
    assert code == 20
    assert "its serial is 10300, and at least 10400 is asked for" in err
    assert say(running.deploy(older, "--allow-older"))[0] == 0


def test_the_board_runs_the_workstation_s_program(running: Board, built: Path, key: Key, tmp_path: Path, say: Said) -> None:
    """Whatever program lies in the artefact, signed or not: it is sent, and not run."""
    mark = tmp_path / "ran"

    def plant(folder: Path) -> None:
        (folder / PROGRAM).write_text(f"#!/usr/bin/env python3\nopen({str(mark)!r}, 'w')\nraise SystemExit(1)\n")
        list_again(folder)
        write_manifest(folder)

    planted = signed(built, tmp_path / "planted", key, change=plant)
    for more in ([], ["--trust", key.public]):
        assert say(running.deploy(planted, *more))[0] == 0
        assert not mark.exists()
    (installed,) = (running.root / NAME / "releases").iterdir()
    assert (installed / PROGRAM).read_text() == (planted / PROGRAM).read_text()


def test_a_forged_release_is_refused_by_a_board_whose_workstation_does_not_look(
    running: Board, release: Path, built: Path, key: Key, tmp_path: Path, say: Said
) -> None:
    assert say(running.deploy(release, "--trust", key.public))[0] == 0
    before = running.current
    forged = signed(built, tmp_path / "forged", key, "1.5.0")
    sign(forged, key, "1.6.0")
    other = signed(built, tmp_path / "other", key, "1.5.0")
    shutil.copy(other / "signed" / "release.json", forged / "signed" / "release.json")
    code, _, err = say(running.deploy(forged))
    assert code == 19
    assert "changed: signed/release.json" in err
    assert running.current == before
