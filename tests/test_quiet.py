"""No process of edgec reaches another machine or leaves anything in the user's folders: real commands in an empty home, watched
from within Python by an audit hook, and from below by a library that stands before the system's own."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.commands import SECONDS, command, environment, python
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.watch import HERE, compiled

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = (
    *("XDG_", "EDGEC_CACHE", "ORT_", "HF_", "TRANSFORMERS_", "MPLCONFIG", "TORCHINDUCTOR", "DO_NOT_TRACK"),
    *("CI", "TF_BUILD", "JENKINS"),
)
"""Variables that move folders or silence something. OpenVINO tells nothing where it believes to be in continuous integration."""


@dataclass(frozen=True)
class Place:
    """A user's machine, new: `home`, `tmp` and `work` are empty, no variable says where edgec's cache is."""

    root: Path
    library: Path | None

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def variables(self) -> dict[str, str]:
        names = (
            "XDG_",
            "EDGEC_CACHE",
            "ORT_",
            "HF_",
            "TRANSFORMERS_",
            "MPLCONFIG",
            "TORCHINDUCTOR",
            "DO_NOT_TRACK",
            "CI",
            "TF_BUILD",
        )
        mine = {name: value for name, value in environment().items() if not name.startswith((*names, "JENKINS"))}
        path = os.pathsep.join(filter(None, (str(HERE), str(ROOT), mine.get("PYTHONPATH"))))
        watched = {} if self.library is None else {"LD_PRELOAD": str(self.library)}
        return mine | watched | {
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "WATCH_LOG": str(self.log),
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def start(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, words)],
            cwd=self.work,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def calls(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    def litter(self) -> list[str]:
        """What is in the home but edgec's cache, and in the folder for temporary files."""
        cache = self.root / "home" / ".cache" / "edgec"
        entries = [path for folder in ("home", "tmp") for path in (self.root / folder).rglob("*")]
        others = [path for path in entries if path != cache and path not in cache.parents and cache not in path.parents]
        return [str(path.relative_to(self.root)) for path in others]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """None where there is no compiler, or no LD_PRELOAD: then the hook watches alone."""
    return compiled("watch", tmp_path_factory.mktemp("watch"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blocks. What is watched does not depend on how many there are; the built-in one is read below, too."""
    return save_checkpoint(tmp_path_factory.mktemp("quiet") / "checkpoint")


def new_place(root: Path, library: Path | None) -> Place:
    for name in ("home", "tmp", "work"):
        (root / name).mkdir()
    return Place(root, library)


@pytest.fixture
def empty(tmp_path: Path, library: Path | None) -> Place:
    return new_place(tmp_path, library)


BUILD = ("build", "checkpoint", "--calibration", "frames", "--input-size", "32x48")


def edgec(place: Place, *words: str | Path) -> None:
    done = place.start(*command(*words))
    assert done.returncode == 0, done.stderr
    assert place.calls() == []
    assert place.litter() == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, library: Path | None, checkpoint: Path) -> Place:
    """With an artefact, `made.edgec`, of a cold build: every stage, both runtimes, a process for each candidate."""
    place = new_place(tmp_path_factory.mktemp("quiet"), library)
    draw_pictures(place.work / "frames", 8)
    (place.work / "checkpoint").symlink_to(checkpoint)
    edgec(place, *BUILD, "--iterations", "5", "-o", "made.edgec")
    return place


def test_the_watch_catches_openvino_s_telemetry(empty: Place) -> None:
    try:
        importlib.metadata.version("openvino-telemetry")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("this OpenVINO brings no telemetry along")
    empty.start(sys.executable, "-c", "import openvino")
    assert any("urllib.Request" in call for call in empty.calls())
    assert "home/intel" in empty.litter()


def test_the_watch_catches_compiled_code(empty: Place) -> None:
    """`ctypes` calls the system's own function, of which no audit hook hears."""
    if empty.library is None:
        pytest.skip("there is no C compiler")
    code = "import ctypes; ctypes.CDLL(None).getaddrinfo(b'robot.example', None, None, None)"
    assert empty.start(sys.executable, "-c", code).returncode == 0
    assert [call.split(" ", 2)[2] for call in empty.calls()] == ["getaddrinfo robot.example"]


@pytest.mark.parametrize(("target", "precision"), [("jetson-orin-nano", "int8"), ("apple", "auto")])
def test_a_build_for_devices(place: Place, target: str, precision: str) -> None:
    """One Jetson and of its precisions one: each is quantised, simulated and compiled by the same processes."""
    if target == "apple":
        pytest.importorskip("coremltools")
    edgec(place, *BUILD, "--target", target, "--precision", precision, "-o", f"{target}.edgec")
    edgec(place, "explain", f"{target}.edgec")


COMMANDS: list[tuple[str | Path, ...]] = [
    ("verify", "made.edgec"),
    ("bench", "made.edgec", "--iterations", "5", "--profile", "--output", "bench.json"),
    ("bench", "made.edgec", "--iterations", "5", "--fps", "20", "--duration", "500ms"),
    ("run", "made.edgec", "frames", "--features", "features.npz", "--output", "drawn"),
    ("explain", "made.edgec", "--pictures", "pictures"),
    ("explain", "made.edgec", "--pictures", "others", "--frames", "frames", "--checkpoint", "checkpoint"),
    ("report", "made.edgec", "-o", "page.html"),
    ("compare", "made.edgec", "made.edgec", "--format", "html", "-o", "compared.html"),
    ("inspect", "demo"),
    ("calibration", "lint", "demo", "--input-size", "64", "--checkpoint", "demo"),
    ("calibration", "show", "demo", "-o", "sheet.png"),
    ("targets",),
    ("doctor",),
]


@pytest.mark.parametrize("words", COMMANDS, ids=[" ".join(map(str, words[:4])) for words in COMMANDS])
def test_a_command(place: Place, words: tuple[str | Path, ...]) -> None:
    edgec(place, *words)


def test_a_build_that_runs_the_container_s_own_class(place: Place) -> None:
    """transformers looks things up on a hub, and compiles, where it is not told otherwise."""
    pytest.importorskip("transformers")
    edgec(place, *BUILD, "--against", "--precision", "fp32", "--iterations", "5", "-o", "against.edgec")


def test_a_sweep(place: Place, empty: Place, checkpoint: Path) -> None:
    """Its cells are processes of processes. What they keep for whose turn it is to measure is told of in the README. Cells find
    in the cache what `place` was built from: that no stage reaches anything was seen there."""
    cache = Path("home", ".cache", "edgec")
    shutil.copytree(place.root / cache, empty.root / cache, symlinks=True)
    draw_pictures(empty.work / "frames", 8)
    cells = ('targets = ["cpu"]', 'sizes = ["32x48"]', 'precisions = ["fp32"]', 'calibration = "frames"', "iterations = 5")
    (empty.work / "all.toml").write_text("\n".join((f'checkpoints = ["{checkpoint}"]', *cells)))
    done = empty.start(*command("sweep", "all.toml"))
    assert done.returncode == 0, done.stderr
    assert empty.calls() == []
    turns = f"tmp/edgec-turns-{os.getuid()}"
    assert [path for path in empty.litter() if path != turns and not path.startswith(f"{turns}/")] == []


API = """
from pathlib import Path
import os, sys
before = dict(os.environ)
from edgec.building import build
from edgec.model.spec import Size
from edgec.request import BuildRequest
settings = {"precision": "fp32", "iterations": 5, "output": Path("made.edgec")}
build(BuildRequest(sys.argv[1], calibration="frames", size=Size(32, 48), **settings))
added = {name for name in os.environ if os.environ[name] != before.get(name)}
assert added <= {"ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"}, added
assert not [name for name, module in sys.modules.items() if name.split(".")[0] == "openvino_telemetry" and module is not None]
"""


def test_a_program_that_imports_edgec_keeps_its_own_settings(empty: Place, checkpoint: Path) -> None:
    """No more is switched off in it than telemetry; matplotlib's folders are the program's own."""
    draw_pictures(empty.work / "frames", 8)
    done = empty.start(sys.executable, "-c", API, checkpoint)
    assert done.returncode == 0, done.stderr
    assert empty.calls() == []
    theirs = ("home/.config", "home/.cache/matplotlib")
    assert [path for path in empty.litter() if not path.startswith(theirs)] == []


SETTLED = """
import os, edgec
from edgec.quiet import keep_together
keep_together()
print(os.environ["HF_HUB_OFFLINE"], os.environ["MPLCONFIGDIR"], os.environ["ORT_DISABLE_TELEMETRY"])
"""


def test_variables_that_are_set_are_kept(empty: Place) -> None:
    theirs = {"HF_HUB_OFFLINE": "0", "MPLCONFIGDIR": "/theirs", "ORT_DISABLE_TELEMETRY": "0"}
    done = python(SETTLED, cwd=empty.work, env=empty.variables | theirs)
    assert done.stdout.split() == ["0", "/theirs", "0"]
