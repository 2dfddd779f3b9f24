"""The folder of frames that are unlike the calibration frames: bounds, what a power cut leaves, full disks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgec.durable import sha256_of
from edgec.onboard import keeping
from edgec.onboard.keeping import Keeper
from edgec.onboard.ring import Bounds, Ring

HEIGHT, WIDTH = 12, 20


def noise(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def add(ring: Ring, seed: int) -> Path:
    return ring.add(noise(seed), 2.0 + seed, f"camera {seed}")


def test_a_frame_and_its_line(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "ring", "0123abcd")
    path = add(ring, 3)
    with Image.open(path) as picture:
        picture.load()
        assert (picture.mode, np.array_equal(np.array(picture), noise(3))) == ("RGB", True)
    (line,) = path.with_suffix(".json").read_text().splitlines()
    facts = json.loads(line)
    assert facts.pop("time").endswith("Z")
    assert facts == {
        "file": path.name, "score": 5.0, "build_key": "0123abcd", "source": "camera 3", "height": HEIGHT, "width": WIDTH,
        "bytes": path.stat().st_size, "sha256": sha256_of(path),
    }  # fmt: skip
    assert (tmp_path / "ring").stat().st_mode & 0o777 == 0o700
    with pytest.raises(OSError, match="another process"):
        Ring(tmp_path / "ring", "0123abcd")
    ring.close()
    Ring(tmp_path / "ring", "0123abcd").close()


def test_the_oldest_frames_are_dropped(tmp_path: Path) -> None:
    ring = Ring(tmp_path, "k", Bounds(3))
    (tmp_path / "mine.png").touch()
    paths = [add(ring, seed) for seed in range(5)]
    assert [entry.path for entry in ring.entries()] == paths[2:]
    names = {path.name for path in paths[2:]} | {path.with_suffix(".json").name for path in paths[2:]}
    assert {path.name for path in tmp_path.iterdir()} == names | {"mine.png", ".lock"}
    paths[3].unlink()  # as fetching may
    add(ring, 5)
    assert len(ring.entries()) == 3
    ring.close()
    # The room of two frames, of which each is a little different.
    size = max(entry.size for entry in ring.entries())
    smaller = Ring(tmp_path, "k", Bounds(100, 2.5 * size / 1e6))
    last = [add(smaller, seed) for seed in (6, 7)]
    assert [entry.path for entry in smaller.entries()] == last
    smaller.close()
    tiny = Ring(tmp_path, "k", Bounds(100, 0.5 * size / 1e6))
    with pytest.raises(OSError, match="more than the folder may hold"):
        add(tiny, 8)
    assert [entry.path for entry in tiny.entries()] == last


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from edgec.onboard.ring import Bounds, Ring

def work(folder, left):
    def trace(event, arguments):
        nonlocal left
        if event in ("open", "os.rename", "os.remove") and str(folder) in str(arguments[0]):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), 9)
    ring = Ring(folder, "k", Bounds(2))
    sys.addaudithook(trace)
    for seed in range(3):
        ring.add(np.full((3, 4, 3), seed, np.uint8), 2.0)

for step in range(40):
    child = os.fork()
    if child == 0:
        work(Path(sys.argv[1], str(step)), step)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(step)
"""


def test_a_power_cut_leaves_whole_frames(tmp_path: Path) -> None:
    """Killed at each step of writing three frames into a folder for two."""
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert 10 < int(done.stdout) < 39
    for step in range(int(done.stdout) + 1):
        folder = tmp_path / str(step)
        ring = Ring(folder, "k", Bounds(2))
        entries = ring.entries()
        ring.close()
        assert len(entries) <= 2
        for entry in entries:
            assert sha256_of(entry.path) == json.loads(entry.path.with_suffix(".json").read_text())["sha256"]
        assert len(list(folder.iterdir())) == 1 + 2 * len(entries)


def test_a_keeper_takes_a_frame_a_second(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, "k", wait=True)
    for at_s in (0.0, 0.5, 1.0, 1.9, 2.0, 0.0):  # a video that begins again
        keeper.offer(noise(1)[:, ::-1], 2.0, "v", at_s)
    keeper.close()
    assert (keeper.kept, keeper.passed_over, keeper.failed, keeper.news()) == (4, 2, 0, "")
    with Image.open(next(tmp_path.glob("*.png"))) as picture:
        assert np.array_equal(np.array(picture), noise(1)[:, ::-1])


def test_a_full_disk_is_said_once_and_takes_nothing_away(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "RETRY_S", 0.0)
    folder = small_disk / "ring"
    keeper = Keeper(folder, "k", Bounds(2), wait=True)
    for seed in range(2):
        keeper.offer(noise(seed, 300, 400), 2.0)
    keeper.close()
    before = {path.name for path in folder.iterdir()}
    with (small_disk / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize)
    keeper = Keeper(folder, "k", Bounds(2), wait=True)
    for seed in range(3):
        keeper.offer(noise(seed, 300, 400), 2.0)
    keeper.close()
    assert (keeper.kept, keeper.failed) == (0, 3)
    assert (keeper.news().endswith("No space left on device"), keeper.news()) == (True, "")
    assert {path.name for path in folder.iterdir()} == before
    (small_disk / "filler").unlink()
    keeper = Keeper(folder, "k", Bounds(2), wait=True)
    keeper.offer(noise(9, 300, 400), 2.0)
    keeper.close()
    assert (keeper.kept, len(list(folder.glob("*.png")))) == (1, 2)


def test_after_a_failure_the_disk_is_left_alone_for_a_while(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, "k", Bounds(2, 0.0001), wait=True)
    for seed in range(3):
        keeper.offer(noise(seed), 2.0)
    keeper.close()
    assert (keeper.kept, keeper.failed) == (0, 3)
    assert "more than the folder may hold" in keeper.news()


def test_a_slow_disk_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first frame is being written, the second waits for that, others are passed over; each is what it was when offered."""
    begun, goes_on = threading.Event(), threading.Event()
    add_really = Ring.add

    def slowly(ring: Ring, *frame: Any) -> Path:
        begun.set()
        assert goes_on.wait(20)
        return add_really(ring, *frame)

    monkeypatch.setattr(Ring, "add", slowly)
    keeper = Keeper(tmp_path, "k")
    frame = noise(0)
    keeper.offer(frame, 2.0)
    assert begun.wait(20)
    for seed in range(1, 5):
        frame[:] = noise(seed)  # the camera's buffer
        keeper.offer(frame, 2.0)
    goes_on.set()
    keeper.close()
    assert (keeper.kept, keeper.passed_over) == (2, 3)
    pictures = [np.array(Image.open(path)) for path in sorted(tmp_path.glob("*.png"))]
    assert [np.array_equal(picture, noise(seed)) for seed, picture in enumerate(pictures)] == [True, True]
