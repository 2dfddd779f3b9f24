"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import warnings

# Before torch or a runtime starts its threads: those that spin while they wait slow down everything else on a small machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Tests start hundreds of programs, and each would compile edgec's sources again; pytest would rewrite every test file again.
    sys.dont_write_bytecode = False
if "PYTEST_XDIST_WORKER" in os.environ:
    # Of several processes each has its work: PyTorch's threads would only take cores from one another. What runtimes do with
    # cores, edgec and the tests say themselves.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support import once
from tests.support.forks import Forks

# Suites that other tests import: before any of them does.
pytest.register_assert_rewrite("tests.lowering.conformance")

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """xdist would take the files with the most tests first, and the longest ones (a campaign has three tests) last, when one
    process has nothing left to do."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the fewest tests first: of those each test takes longest. At the end there are small ones to share out."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (tests[item.path], str(item.path)))


def pytest_collection_finish() -> None:
    """What stays until the end anyway (modules, five thousand tests) is not searched for garbage again and again."""
    if "edgec.graph.export" in sys.modules:
        once.read_operators_once()
        once.know_operators_once()
    _set_aside()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Nor is what a file of tests leaves (fixtures of the session, what is cached): each conversion by coremltools searches
    everything, which late in a run would take it longer than all the rest."""
    yield
    if nextitem is None or nextitem.path != item.path:
        _set_aside()


def _set_aside() -> None:
    with warnings.catch_warnings():
        # In a test they are errors. Whose these are is no longer known.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared data folder; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("EDGEC_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no data folder at {folder}: set EDGEC_DATA")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache, and no fixture of any scope. The processes of one run fill one together, which is
    made for that: most build from the same small checkpoint, and the graph of that is exported once."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEC_CACHE_DIR", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _shares_exports(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Between the processes of one run, if it has several: the folder around their own temporary folders is theirs together."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        once.share_in(tmp_path_factory.getbasetemp().parent / "exports")


@pytest.fixture(scope="session")
def builders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Forks commands, and Python code, that have imported all that a build imports and have exported once. The processes of one
    run share it."""
    base = tmp_path_factory.getbasetemp()
    with Forks(ready=True, place=(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "builders") as forks:
        yield forks


@pytest.fixture(scope="session", autouse=True)
def _hears_ctrl_c() -> None:
    """A shell starts what runs in its background deaf to SIGINT, and so would be the programs that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real filesystem of 80 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk takes root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)
