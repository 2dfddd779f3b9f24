"""The emulated machine: made once, kept in the user's cache folder, and run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import platformdirs

from benchmarks.arm64.debian import RELEASE, Apt, Unavailable, host_architecture, run
from benchmarks.arm64.wheels import PYTHON, install
from benchmarks.arm64.wheels import pins as pins_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("python3", "libgomp1", "libstdc++6")
WHEELS = ("numpy", "onnxruntime", "openvino", "pydantic", "click", "rich", "platformdirs", "psutil")
"""What `edgec verify`, `run` and `bench` import. In the versions that this environment has, so that hosts can be compared."""
RECIPE = 3
"""Grows when the folder is made in another way."""
A76, I8MM = "cortex-a76", "max,sve=off,sme=off,pauth=off"
"""The core of Raspberry Pi 5 and RK3588, and one with 8-bit matrix products: with SVE emulation takes 15 times as long, SME would
stand for few CPUs, and signing pointers is slow to emulate."""
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Machine:
    """`qemu`, `root/` (Debian), `site/` (wheels) and `python`, in `folder`."""

    folder: Path

    @property
    def python(self) -> Path:
        """Runs the emulated Python. The host can start it, and so can the emulated Python itself, for its own children."""
        return self.folder / "python"

    def environment(self, cpu: str, more: Mapping[str, str] | None = None, qemu: Path | None = None) -> dict[str, str]:
        """For `python`: this host's own variables would not suit it."""
        passed = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "EDGEC_CACHE_DIR") if name in os.environ}
        return {
            **passed,
            "QEMU": str(qemu or self.folder / "qemu-aarch64"),
            "QEMU_CPU": cpu,
            "QEMU_LD_PREFIX": str(self.folder / "root"),
            "PYTHONPATH": os.pathsep.join(map(str, (_ROOT, _entry_points(), self.folder / "site"))),
            "PYTHONPYCACHEPREFIX": str(self.folder / "pycache"),  # compiling is what takes an emulated start longest
            "LC_ALL": "C.UTF-8",
            "OMP_WAIT_POLICY": "passive",
            **(more or {}),
        }


def run_emulated(
    argv: Sequence[str | Path],
    cpu: str = A76,
    *,
    cwd: Path | None = None,
    timeout: float = 240,
    environment: Mapping[str, str] | None = None,
    qemu: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments (`["-m", "edgec", "verify", …]`, `[program.pyz, "run-all"]`) as this CPU, by qemu's name.

    It imports edgec from this checkout. Raises `Unavailable` as `machine`, `subprocess.TimeoutExpired` after `timeout` seconds.
    """
    emulated = machine()
    return subprocess.run(
        [str(emulated.python), *map(str, argv)],
        cwd=cwd,
        env=emulated.environment(cpu, environment, qemu),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@cache
def machine() -> Machine:
    """Made if it is not there yet: about 60 MB are fetched, in half a minute. Raises `Unavailable`."""
    parent = cache_folder()
    pins = pins_of(WHEELS)
    key = hashlib.sha256(repr((RECIPE, RELEASE, PACKAGES, PYTHON, pins)).encode()).hexdigest()[:16]
    folder = parent / f"{RELEASE}-{key}"
    with made_once(folder) as work:
        if work is not None:
            _make(work, folder, pins)
    return Machine(folder)


def cache_folder() -> Path:
    """`$EDGEC_ARM64_DIR`, or a folder in the user's cache: not edgec's own, which holds stages of builds and evicts them."""
    chosen = os.environ.get("EDGEC_ARM64_DIR")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("edgec-arm64"))


@contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """An empty directory that becomes `folder` at the end, or None if `folder` is there. Another process that wants it waits."""
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            yield None
            return
        work = folder.parent / f"{folder.name}.part"
        with suppress(FileNotFoundError):
            rmtree(work)
        work.mkdir()
        yield work
        work.rename(folder)


def _make(work: Path, folder: Path, pins: Sequence[str]) -> None:
    if sys.platform != "linux":
        raise Unavailable("qemu-user runs on Linux only")
    with TemporaryDirectory(prefix="edgec-arm64-") as name:
        scratch = Path(name)
        Apt(host_architecture(), scratch / "host").unpack(["qemu-user"], scratch / "qemu")
        (scratch / "qemu" / "usr" / "bin" / "qemu-aarch64").rename(scratch / "qemu-aarch64")
        run(["mv", str(scratch / "qemu-aarch64"), str(work)])  # to another file system, perhaps
        Apt("arm64", scratch / "target").unpack(PACKAGES, work / "root")
        for link in ("bin", "lib", "sbin"):  # one of Debian's scripts makes them
            if not (work / "root" / link).exists():
                (work / "root" / link).symlink_to(f"usr/{link}")
        install(pins, scratch / "wheels", work / "site", "aarch64")
    wrapper = work / "python"
    wrapper.write_text(f'#!/bin/sh\nexec "$QEMU" "{folder}/root/usr/bin/python{PYTHON}" "$@"\n')
    wrapper.chmod(0o755)
    # Children are started through the wrapper, because the kernel cannot start arm64 programs by itself.
    (work / "site" / "sitecustomize.py").write_text(f'import sys\n\nsys.executable = "{folder}/python"\n')


@cache
def _entry_points() -> Path:
    """A folder with what this environment's installation of edgec says of itself: which runtimes and families it registers."""
    installed = importlib.metadata.distribution("edgec")
    texts = {name: installed.read_text(name) or "" for name in ("METADATA", "entry_points.txt")}
    folder = cache_folder() / f"edgec-{hashlib.sha256(repr(texts).encode()).hexdigest()[:16]}"
    with made_once(folder) as work:
        if work is not None:
            metadata = work / f"edgec-{installed.version}.dist-info"
            metadata.mkdir()
            for name, text in texts.items():
                (metadata / name).write_text(text)
    return folder
