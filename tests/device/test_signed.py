"""A board with a key: what it takes, and what it refuses before anything of it is executed, loaded or believed."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("model_signing", reason="edgec[bundle] is not installed")

from edgec.artefact.golden import EXPECTED_FLOAT32
from edgec.onboard.container import RELEASE, SIGNATURE
from tests.device.releases import Key, as_file, built_again, list_again, seal_again, sign, signed, trusting
from tests.device.robot import Robot, check_whole, interpreter
from tests.support import forging

FLIPS = 24
HOME = "small-jetson-64x96"


def test_a_signed_folder_becomes_active(robot: Robot, release: Path, key: Key) -> None:
    robot = trusting(replace(robot, bundle=release), key)
    assert robot.run("run-all").code == 0
    check_whole(robot)
    (status,) = robot.run("status").of("status")
    active = status["current"]["release"]
    assert (active["name"], active["version"], active["serial"]) == ("robot", "1.4.0", 10400)
    assert active["signer"].startswith("key ")
    installed = robot.release()
    assert {path.relative_to(installed) for path in installed.rglob("*.sig")} == {Path(SIGNATURE)}
    assert "robot 1.4.0, serial 10400, signed by key" in robot.say("status")[1]


def test_a_bundle_is_checked_and_installed(running: Robot, file: Path) -> None:
    running = replace(running, bundle=file)
    assert running.run("check").of("done", step="check")
    shutil.rmtree(running.root / HOME / "releases")
    assert running.run("install").of("done", step="install", result="copied")
    assert running.run("install").of("done", step="install", result="unchanged")
    assert running.run("preflight").code == 0


def test_a_bundle_needs_a_key(robot: Robot, file: Path, key: Key) -> None:
    robot = replace(robot, bundle=file)
    refused = robot.run("run-all")
    assert refused.code == 19
    assert "no key is trusted here" in refused.error["what"]
    assert not robot.root.exists()
    assert robot.run("check", "--trust", key.public).code == 0


def test_what_is_not_signed_is_refused(running: Robot, bundle: Path) -> None:
    before = running.current
    for command in ("run-all", "install", "update", "check"):
        refused = running.run(command)
        assert refused.code == 19
        assert "is not signed" in refused.error["what"]
    assert running.current == before


def test_an_image_s_keys_are_the_only_ones(robot: Robot, release: Path, key: Key, other_key: Key, tmp_path: Path) -> None:
    image = tmp_path / "image"
    shutil.copytree(robot.facts, image)
    (image / "etc/edgec/trust").mkdir(parents=True)
    shutil.copy(other_key.public, image / "etc/edgec/trust/a.pem")
    robot = trusting(replace(robot, bundle=release, facts=image), key)
    assert robot.run("check").code == 19
    shutil.copy(key.public, image / "etc/edgec/trust/a.pem")
    assert robot.run("check").code == 0


def test_a_key_that_cannot_be_read_opens_nothing(robot: Robot, bundle: Path) -> None:
    (robot.root / "trust").mkdir(parents=True)
    (robot.root / "trust" / "a.pem").write_text("rotten")
    refused = robot.run("run-all")
    assert refused.code == 2
    assert "cannot be trusted" in refused.error["what"]


def change_a_byte(folder: Path) -> None:
    content = bytearray((folder / "model/int8.onnx").read_bytes())
    content[-9] ^= 1
    (folder / "model/int8.onnx").write_bytes(content)


def replace_the_program(folder: Path) -> None:
    (folder / "device/edgec-jetson.pyz").write_text("#!/usr/bin/env python3\nprint('another program')\n")
    list_again(folder)


def replace_golden_frames(folder: Path) -> None:
    with np.load(folder / "golden/frames.npz") as archive:
        frames = {name: values[::-1] for name, values in archive.items()}
    np.savez(folder / "golden/frames.npz", **frames)
    list_again(folder)


def loosen_the_gate(folder: Path) -> None:
    forging.edit(folder / "device/bundle.json", lambda bundle: bundle.update(gate=dict.fromkeys(bundle["gate"], 0.1)))


def call_it_newer(folder: Path) -> None:
    forging.edit(folder / RELEASE, lambda release: release.update(version="9.0.0", serial=90000))


def add_a_file(folder: Path) -> None:
    (folder / "device/more.py").write_text("print('more')")


def remove_a_file(folder: Path) -> None:
    (folder / "model/fp32.onnx").unlink()


@pytest.mark.parametrize(
    "change",
    [change_a_byte, replace_the_program, replace_golden_frames, loosen_the_gate, call_it_newer, add_a_file, remove_a_file],
)
def test_what_was_changed_after_signing_is_refused(running: Robot, release: Path, tmp_path: Path, change: object) -> None:
    before = running.current
    forged = Path(shutil.copytree(release, tmp_path / "forged"))
    assert callable(change)
    change(forged)
    for path in (forged, as_file(forged)):
        refused = replace(running, bundle=path).run("check")
        assert refused.code == 19, refused
    assert replace(running, bundle=forged).run("update").code == 19
    assert running.current == before
    assert not (running.root / "update.json").exists()


def test_somebody_else_s_signature_is_refused(running: Robot, release: Path, other_key: Key, tmp_path: Path) -> None:
    theirs = sign(Path(shutil.copytree(release, tmp_path / "theirs")), other_key, "2.0.0")
    refused = replace(running, bundle=theirs).run("run-all")
    assert refused.code == 19
    assert "which is not trusted" in refused.error["what"] + str(refused.error["evidence"])


def test_a_bit_changed_anywhere_is_refused(running: Robot, file: Path, tmp_path: Path) -> None:
    """By the program itself, on the oldest Python. `python -m benchmarks signed-flips` flips a thousand."""
    draw, content = random.Random(8), file.read_bytes()
    flipped = tmp_path / "flipped.edgec-bundle"
    running = replace(running, bundle=flipped, python=interpreter("3.8") or running.python)
    for bit in draw.sample(range(len(content) * 8), FLIPS):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        flipped.write_bytes(changed)
        assert running.run("check").code == 19, bit
    flipped.write_bytes(content)
    assert running.run("check").code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "1.3.9"}, "its serial is 10309, and at least 10400 is asked for"),
        ({"version": "1.5.0", "name": "gripper"}, "it is gripper, and robot is asked for"),
        ({"version": "1.5.0", "expires": "2026-01-31T23:59:59Z"}, "it expired at 2026-01-31T23:59:59Z"),
    ],
)
def test_what_is_outdated_is_refused(
    running: Robot, bundle: Path, key: Key, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    older = replace(running, bundle=signed(bundle, tmp_path / "older", key, **change))
    for command in ("check", "install", "run-all"):
        refused = older.run(command)
        assert refused.code == 20
        assert said in refused.error["what"]
    accepted = 20 if "expires" in change else 0
    assert older.run("run-all", "--allow-older").code == accepted


def test_an_older_release_is_refused_under_another_artefact_s_name_too(
    running: Robot, bundle: Path, key: Key, tmp_path: Path
) -> None:
    def rename(folder: Path) -> None:
        forging.edit(folder / "device" / "bundle.json", lambda document: document.update(name="courier"))

    older = replace(running, bundle=signed(bundle, tmp_path / "older", key, "1.3.0", change=rename))
    assert older.run("run-all").code == 20
    other = replace(running, bundle=signed(bundle, tmp_path / "other", key, "1.3.0", name="courier", change=rename))
    assert other.run("check").code == 0, "another product has versions of its own"


def test_what_runs_may_expire(robot: Robot, bundle: Path, key: Key, tmp_path: Path) -> None:
    """It is not taken any more, but what was active stays, and can be verified."""
    folder = signed(bundle, tmp_path / "release", key, expires="2099-01-31T23:59:59Z")
    robot = trusting(replace(robot, bundle=folder), key)
    assert robot.run("run-all").code == 0
    sign(folder, key, expires="2026-01-31T23:59:59Z")
    shutil.copytree(folder, robot.release(), dirs_exist_ok=True)
    history = robot.home / "history.json"
    history.write_text(history.read_text().replace("2099-01-31", "2026-01-31"))
    seal_again(history)
    assert robot.run_installed("health").code == 0


def test_an_installed_release_is_checked_whenever_it_is_used(running: Robot, release: Path) -> None:
    golden = running.release() / "golden" / "frames.npz"
    content = golden.read_bytes()
    golden.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    running = replace(running, bundle=release)
    for command in ("build", "verify", "bench", "activate"):
        assert running.run(command).code == 19
    assert running.run("run-all").code == 0, "it is installed again"
    assert golden.read_bytes() == content


def test_a_newer_release_becomes_active_and_the_older_is_the_way_back(
    running: Robot, bundle: Path, key: Key, tmp_path: Path
) -> None:
    before = running.current
    newer = replace(running, bundle=signed(bundle, tmp_path / "newer", key, "1.5.0", change=built_again))
    assert newer.run("run-all").code == 0
    assert newer.current != before
    assert newer.run("rollback").code == 0
    assert newer.current == before


def test_a_bad_release_that_calls_itself_the_active_build_changes_nothing(
    running: Robot, bundle: Path, key: Key, tmp_path: Path
) -> None:
    """Signed by mistake: other golden features under the active build's key. It fails, and what is active stays healthy."""

    def spoil(folder: Path) -> None:
        path = folder / EXPECTED_FLOAT32
        with np.load(path) as archive:
            arrays = {name: np.roll(values, 7, axis=-1) for name, values in archive.items()}
        np.savez(path, **arrays)
        list_again(folder)

    before = running.current
    spoiled = replace(running, bundle=signed(bundle, tmp_path / "spoiled", key, "1.5.0", change=spoil))
    assert spoiled.run("update").code == 9
    assert running.current == before
    assert running.run_installed("health").code == 0
    assert running.run_installed("undo").code == 0
    assert running.run_installed("commit").code == 0
