"""A small checkpoint, frames, and a target of one runtime in one precision: what is built of them is the same every time."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgec.model.spec import Size
from edgec.request import BuildRequest
from tests.support.caches import export_into
from tests.support.commands import command, edgec, environment
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures

FAILING = 'include = [{ checkpoint = "gone.pth", target = "cpu", size = 32 }]\n'


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one/`, `frames/` and `board.toml`."""
    folder = tmp_path_factory.mktemp("sweep")
    save_checkpoint(folder / "one")
    draw_pictures(folder / "frames")
    save_profile(folder / "board.toml", {"fp32": ["onnxruntime"]})
    return folder


def write_matrix(path: Path, inputs: Path, iterations: int = 5, more: str = "") -> Path:
    path.write_text(
        f'checkpoints = ["{inputs}/one"]\ntargets = ["{inputs}/board.toml"]\nsizes = [32, "32x48"]\n'
        f'precisions = ["fp32"]\ncalibration = "{inputs}/frames"\niterations = {iterations}\nfps = 0.01\n{more}'
    )
    return path


@dataclass(frozen=True)
class Swept:
    """`folder` holds the matrix and `matrix.sweep`."""

    folder: Path
    ended: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def cache(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the graphs of both sizes: cells begin where PyTorch's part ends."""
    cache = tmp_path_factory.mktemp("sweep-cache")
    for size in (Size(32, 32), Size(32, 48)):
        export_into(cache, BuildRequest(str(inputs / "one"), calibration=str(inputs / "frames"), size=size))
    return cache


@pytest.fixture(scope="session")
def swept(inputs: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep of two jobs: a checkpoint at two sizes, and one that cannot be built."""
    folder = tmp_path_factory.mktemp("swept")
    write_matrix(folder / "matrix.toml", inputs, more=FAILING)
    return Swept(folder, edgec("sweep", "matrix.toml", "--jobs", "2", cwd=folder, cache=cache))


class Sweeping:
    """A sweep in a session of its own, whose log of a cell can be waited for."""

    def __init__(self, folder: Path, cache: Path, *more: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            command("sweep", "matrix.toml", *more),
            cwd=folder,
            env=environment(cache),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def wait_for(self, text: str, cell: str = "*") -> None:
        deadline = time.monotonic() + 60
        while not any(text in log.read_text() for log in self.folder.glob(f"matrix.sweep/logs/{cell}.log")):
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def cells(self) -> list[str]:
        """Processes of its cells, by what they have for a working directory."""
        result = []
        for path in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if path.readlink() == self.folder / "matrix.sweep/logs":
                    result.append(path.parent.name)
            except OSError:
                continue
        return result

    def wait_for_the_end_of_cells(self) -> None:
        deadline = time.monotonic() + 30
        while self.cells() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert self.cells() == []
