"""Cells on real dask workers, each a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgec as installed
from edgec.cache import LAYOUT
from edgec.errors import RequestError
from edgec.sweep.probe import probe
from edgec.sweep.scheduler import address_of
from edgec.sweep.schema import SweepReport, read_sweep
from tests.support.commands import edgec, environment
from tests.sweep.conftest import FAILING, Sweeping, Swept, write_matrix

CLUSTER = """
import sys, warnings
warnings.simplefilter("ignore")
from distributed import LocalCluster
if __name__ == "__main__":
    options = dict(n_workers=int(sys.argv[1]), threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1")
    with LocalCluster(**options) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def start(folder: Path, cache: Path, workers: int) -> tuple[subprocess.Popen[str], str]:
    pytest.importorskip("distributed")
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    process = subprocess.Popen(
        [sys.executable, str(script), str(workers)],
        cwd=folder,
        env=environment(cache),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip().replace("tcp://", "dask://")


@pytest.fixture(scope="module")
def scheduler(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two workers with a cache of their own: of what is built here the graphs are in it, and what PyTorch said of them."""
    own = tmp_path_factory.mktemp("cluster-cache")
    for stage in ("hub", "reference", "hub-fidelity"):
        shutil.copytree(cache / LAYOUT / stage, own / LAYOUT / stage)
    process, address = start(tmp_path_factory.mktemp("cluster"), own, 2)
    yield address
    process.communicate("", timeout=60)


def test_workers_build_what_is_built_here(swept: Swept, inputs: Path, tmp_path: Path, scheduler: str) -> None:
    """Byte for byte: each artefact's manifest holds the hashes of all its files but the report."""
    write_matrix(tmp_path / "matrix.toml", inputs, more=FAILING)
    ended = edgec("sweep", "matrix.toml", "--json", "--scheduler", scheduler, cwd=tmp_path)
    assert ended.returncode == 3, ended.stderr
    there = SweepReport.model_validate_json(ended.stdout)
    here = {cell.name: cell for cell in read_sweep(swept.folder / "matrix.sweep/sweep.json").cells}
    assert [cell.state for cell in there.cells] == ["done", "done", "failed"]
    for cell in there.cells:
        for field in ("state", "build_key", "artefact_sha256", "exit_code"):
            assert getattr(cell, field) == getattr(here[cell.name], field)
    for cell in there.cells[:2]:
        assert cell.measured_alone
        assert not cell.reused


def test_a_killed_sweep_ends_its_cells_on_the_workers(inputs: Path, cache: Path, tmp_path: Path, scheduler: str) -> None:
    more = f'include = [{{ checkpoint = "one", target = "{inputs}/board.toml", size = 48, precision = "fp32" }}]\n'
    write_matrix(tmp_path / "matrix.toml", inputs, more=more)
    sweeping = Sweeping(tmp_path, cache, "--scheduler", scheduler)
    sweeping.wait_for("choose frames", "one-board-48x48-fp32")
    sweeping.process.kill()
    sweeping.process.communicate(timeout=60)
    sweeping.wait_for_the_end_of_cells()
    assert not (tmp_path / "matrix.sweep/one-board-48x48-fp32.edgec").exists()


def test_a_worker_says_what_it_lacks(inputs: Path, tmp_path: Path) -> None:
    answer = probe(str(tmp_path), "logs/.token", "content", [str(inputs / "one"), str(tmp_path / "gone")])
    assert answer["shared"] is False
    assert answer["missing"] == [str(tmp_path / "gone")]


def test_a_worker_with_another_edgec_is_refused(inputs: Path, tmp_path: Path) -> None:
    """The same version with one file more, first on the worker's path."""
    own = Path(installed.__file__).parent
    shutil.copytree(own, tmp_path / "other/edgec", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "other/edgec/more.py").write_text("")
    for room in ("targets", "calibration"):
        (tmp_path / "other" / room).symlink_to(own.parent / room)
    process, address = start(tmp_path / "other", tmp_path / "cache", 1)
    write_matrix(tmp_path / "matrix.toml", inputs)
    ended = edgec("sweep", "matrix.toml", "--scheduler", address, cwd=tmp_path)
    process.communicate("", timeout=60)
    assert ended.returncode == 2
    assert "with other source" in ended.stderr
    assert "cannot build these cells" in ended.stderr


def test_a_scheduler_that_is_not_there_is_named(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    write_matrix(tmp_path / "matrix.toml", inputs)
    ended = edgec("sweep", "matrix.toml", "--scheduler", "dask://127.0.0.1:1", cwd=tmp_path)
    assert ended.returncode == 16
    assert "cannot be reached" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("text", ["tcp://h:1", "dask://h", "dask://:1", "dask://h:0", "dask://h:x", "dask://h:1/path"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        address_of(text)


def test_addresses_as_dask_writes_them() -> None:
    assert address_of("dask://host:8786") == "tcp://host:8786"
