"""A qemu that takes plugins, built from Debian's source package: Debian's own does not. Six minutes on two cores, once."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.arm64.debian import RELEASE, Apt, Unavailable, host_architecture, require, run
from benchmarks.arm64.machine import cache_folder, made_once

CODE = Path(__file__).with_name("count.c")
TOOLS = ("meson>=1.5", "ninja", "packaging", "pycotap", "setuptools", "wheel")
"""What its build needs of Python, which its source package leaves to the system."""
OPTIONS = (
    "--target-list=aarch64-linux-user", "--without-default-features", "--enable-tcg", "--enable-plugins", "--disable-system",
    "--disable-tools", "--disable-docs", "--disable-guest-agent", "--disable-install-blobs", "--disable-werror",
)  # fmt: skip
_BUILD_S = 3600
RECIPE = 1


@dataclass(frozen=True)
class Counting:
    """A qemu, and the plugin that counts instructions (`count.c`)."""

    qemu: Path
    plugin: Path

    def environment(self, log: Path) -> dict[str, str]:
        """Variables by which it counts, and writes counts to `log`."""
        return {"QEMU_PLUGIN": str(self.plugin), "QEMU_LOG": "plugin", "QEMU_LOG_FILENAME": str(log)}


def counting() -> Counting:
    """Built if it is not there yet. Raises `Unavailable` without a compiler, GLib's headers or network."""
    key = hashlib.sha256(repr((RECIPE, RELEASE, OPTIONS, CODE.read_text())).encode()).hexdigest()[:16]
    folder = cache_folder() / f"qemu-{key}"
    with made_once(folder) as work:
        if work is not None:
            _build(work)
    return Counting(folder / "qemu-aarch64", folder / "libcount.so")


def _build(work: Path) -> None:
    require("gcc", "pkg-config", "tar", "strip")
    try:
        glib = run(["pkg-config", "--cflags", "glib-2.0"]).split()
    except Unavailable as error:
        raise Unavailable(f"GLib's headers are missing (apt-get install libglib2.0-dev): {error}") from error
    with TemporaryDirectory(prefix="edgec-qemu-") as name:
        scratch = Path(name)
        source, build, python = scratch / "source", scratch / "build", scratch / "python"
        source.mkdir()
        build.mkdir()
        archive = Apt(host_architecture(), scratch / "apt", sources=True).source("qemu", scratch)
        run(["tar", "--extract", "--file", str(archive), "--directory", str(source), "--strip-components=1"])
        run([sys.executable, "-m", "venv", str(python)])
        run([str(python / "bin" / "python"), "-m", "pip", "install", "--quiet", *TOOLS])
        ninja = python / "bin" / "ninja"
        configure = [str(source / "configure"), f"--python={python / 'bin' / 'python'}", *OPTIONS]
        run(["env", f"NINJA={ninja}", *configure], build, _BUILD_S)
        run([str(ninja), "-j", str(os.cpu_count() or 1), "qemu-aarch64"], build, _BUILD_S)
        run(["strip", "-o", str(work / "qemu-aarch64"), str(build / "qemu-aarch64")])
        headers = f"-I{source / 'include' / 'qemu'}"
        run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", headers, *glib, str(CODE), "-o", str(work / "libcount.so")])
    shutil.copy(CODE, work)
