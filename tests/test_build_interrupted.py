"""Builds that are killed, interrupted, or have nowhere to write."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgec.artefact.reading import open_artefact
from edgec.building import build
from edgec.errors import ArtefactError, EdgecError
from edgec.model.spec import Size
from edgec.request import BuildRequest
from edgec.verifying import verify
from tests.support.commands import SECONDS, command, environment
from tests.support.files import save_checkpoint, save_profile
from tests.support.forks import Forks
from tests.support.frames import draw_pictures

STAGES = (
    "choose frames",
    "export the hub graph",
    "verify the hub graph",
    "quantise and lower",
    "verify candidates",
    "measure latency",
    "verify the artefact",
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    save_profile(folder / "board.toml", {"fp32": ["onnxruntime"], "int8": ["onnxruntime"]})
    return folder


@pytest.fixture
def ask(inputs: Path, tmp_path: Path) -> BuildRequest:
    """Finished once in this session, it comes out of the cache."""
    return BuildRequest(
        str(inputs / "checkpoint"),
        target=str(inputs / "board.toml"),
        calibration=str(inputs / "frames"),
        size=Size(32, 48),
        min_fidelity=0.5,
        iterations=5,
        output=tmp_path / "made.edgec",
    )


class Running:
    """A build in a process group of its own, whose stages can be waited for."""

    def __init__(self, builders: Forks, inputs: Path, output: Path, cache: Path, *more: str) -> None:
        given = ("build", inputs / "checkpoint", "--calibration", inputs / "frames", "--target", inputs / "board.toml")
        options = ("--input-size", "32x48", "--min-fidelity", "0.5", "-o", output, *more)
        self.said = ""
        env = environment(cache, TMPDIR=str(output.parent.parent))
        read_end, write_end = os.pipe()
        with Path(os.devnull).open("wb") as nothing:
            self.process = builders.start(*given, *options, cwd=inputs, env=env, stdout=nothing.fileno(), stderr=write_end)
        os.close(write_end)
        self._stderr = os.fdopen(read_end, "r")

    def until(self, stage: str) -> bool:
        """Whether that stage was seen to end, before the process did."""
        for line in self._stderr:
            self.said += line
            if line.rstrip().endswith(f" s  {stage}"):
                return True
        return False

    def end(self, signal_number: int, *, group: bool = False) -> int:
        """Sends the signal; returns the exit code once the process and all its children are gone."""
        family = self.family()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal_number) if group else os.kill(self.process.pid, signal_number)
        self.said += self._stderr.read()
        code = self.process.wait()
        assert code is not None, self.said
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, alive
        return code

    def family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._stderr.close()


@pytest.fixture
def start(builders: Forks, inputs: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    begun: list[Running] = []
    (tmp_path / "out").mkdir()

    def run(*more: str, cache: Path = tmp_path / "cache") -> Running:
        begun.append(Running(builders, inputs, tmp_path / "out" / "made.edgec", cache, *more))
        return begun[-1]

    yield run
    for running in begun:
        running.close()


def leftovers(folder: Path) -> list[str]:
    """Everything that is not an artefact, hidden files included."""
    return sorted(path.name for path in folder.iterdir() if not (path / "manifest.json").is_file() or path.name.startswith("."))


def test_a_killed_build_leaves_nothing_and_resumes(start: Callable[..., Running], tmp_path: Path) -> None:
    """Killed a moment after each of these stages in turn, in the middle of the next; every run goes on from the one before."""
    folder, moments = tmp_path / "out", random.Random(0)
    for stage in STAGES:
        running = start("--iterations", "30")
        assert running.until(stage) or stage == STAGES[-1], running.said
        time.sleep(moments.uniform(0, 0.4))
        code = running.end(signal.SIGKILL)
        assert code in (0, -signal.SIGKILL), running.said
        if (folder / "made.edgec").exists():
            open_artefact(folder / "made.edgec")
            assert stage in STAGES[-2:]
            shutil.rmtree(folder / "made.edgec")
    assert start("--iterations", "30").process.wait() == 0
    assert leftovers(folder) == []
    assert verify(folder / "made.edgec").frames == 4
    assert list((tmp_path / "cache" / "work").iterdir()) == []


def test_a_killed_replacement_leaves_the_old_or_the_new_artefact(
    start: Callable[..., Running], ask: BuildRequest, tmp_path: Path
) -> None:
    """Everything is cached, so that most of the time goes into putting the artefact in its place."""
    place, moments = tmp_path / "out" / "made.edgec", random.Random(1)
    cache = Path(os.environ["EDGEC_CACHE_DIR"])
    keys = {build(replace(ask, iterations=iterations, output=place, force=True)).manifest.build_key for iterations in (5, 6)}
    assert len(keys) == 2
    for turn in range(6):
        running = start("--iterations", "56"[turn % 2], "--force", cache=cache)
        running.until("resolve")
        time.sleep(moments.uniform(0, 0.12))
        running.end(signal.SIGKILL)
        assert open_artefact(place).manifest.build_key in keys
    for iterations in "56":
        assert start("--iterations", iterations, "--force", cache=cache).process.wait() == 0
    assert leftovers(tmp_path / "out") == []
    verify(place)


@pytest.mark.parametrize("group", [False, True], ids=["kill -INT", "Ctrl-C"])
def test_an_interrupted_build_ends_cleanly(start: Callable[..., Running], tmp_path: Path, group: bool) -> None:
    """While the model is exported, while features are compared, and while workers measure."""
    for stage in ("choose frames", "quantise and lower", "verify candidates"):
        running = start("--iterations", "200")
        assert running.until(stage), running.said
        time.sleep(0.3)
        code = running.end(signal.SIGINT, group=group)
        assert code == 130, running.said
        assert "Interrupted. Stages that are finished are cached" in running.said
        assert "Traceback" not in running.said
        assert "\x1b" not in running.said
        assert list((tmp_path / "out").iterdir()) == []
        assert list((tmp_path / "cache" / "work").iterdir()) == []


# --- nowhere to write


def refused(ask: BuildRequest, match: str, error: type[EdgecError] = ArtefactError) -> EdgecError:
    with pytest.raises(error, match=match) as caught:
        build(ask)
    return caught.value


def test_a_destination_below_a_file_is_refused_before_work(ask: BuildRequest, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    refused(replace(ask, output=tmp_path / "note.txt" / "made.edgec", checkpoint="random:vith16plus"), "not a directory")


def test_a_read_only_destination_is_refused_before_work(tmp_path: Path) -> None:
    """As a user who is not root, for whom permissions count."""
    user: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root is stopped by no permission, and there is no setpriv")
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory(prefix="edgec-test-") as name:  # pytest's own folders let nobody else in
        place = Path(name)
        place.chmod(0o755)
        (place / "locked").mkdir(mode=0o555)
        done = subprocess.run(
            [*user, *command("build", "random:vith16plus", "-o", place / "locked" / "made.edgec")],
            cwd="/",
            env=environment(place / "cache", HOME="/nonexistent"),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if "No module named" in done.stderr:
            pytest.skip("another user cannot read this checkout")
        assert done.returncode == 8, done.stderr
        assert "is not writable" in done.stderr
        assert "export" not in done.stderr
        assert "\x1b" not in done.stderr
        assert list((place / "locked").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_an_error_with_a_remedy(
    ask: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "file" / "cache"))
    error = refused(ask, "cache", EdgecError)
    assert error.exit_code == 1
    assert "EDGEC_CACHE_DIR" in error.remedy


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of 300 kB, where one may mount such."""
    place = tmp_path / "small disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "edgec-test", str(place)]
    try:
        allowed = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_keeps_nothing(ask: BuildRequest, small_disk: Path) -> None:
    refused(replace(ask, output=small_disk / "made.edgec"), "The disk is full")
    assert list(small_disk.iterdir()) == []


def test_a_cache_on_a_full_disk_keeps_nothing(
    ask: BuildRequest, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(small_disk / "cache"))
    error = refused(ask, "The disk is full", EdgecError)
    assert "cache" in str(error)
    assert not (tmp_path / "made.edgec").exists()
    assert list((small_disk / "cache" / "work").iterdir()) == []


def test_a_mount_point_is_refused(ask: BuildRequest, small_disk: Path) -> None:
    refused(replace(ask, output=small_disk), "mount point")


def test_two_builds_at_once_do_not_harm_each_other(start: Callable[..., Running], ask: BuildRequest, tmp_path: Path) -> None:
    """The same cache, from where they measure on, and the same place: one is first, the other finds it in the way."""
    build(ask)
    both = [start("--iterations", "7", cache=Path(os.environ["EDGEC_CACHE_DIR"])) for _ in range(2)]
    assert sorted(running.process.wait() for running in both) in ([0, 0], [0, 8])
    verify(tmp_path / "out" / "made.edgec")
    assert leftovers(tmp_path / "out") == []
