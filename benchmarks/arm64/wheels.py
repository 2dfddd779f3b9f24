"""Wheels for another Python than this one, fetched by pip as it is configured here, and unpacked."""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arm64.debian import run

PYTHON = "3.13"
"""Of Debian 13."""
_GLIBC = ("2_17", "2_27", "2_28", "2_31", "2_34", "2_35", "2_36", "2_38", "2_39")


def pins(packages: Sequence[str]) -> tuple[str, ...]:
    """The packages in the versions that are installed here, so that machines can be compared."""
    versions = []
    for package in packages:
        try:
            versions.append(f"{package}=={importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(package)
    return tuple(versions)


def install(packages: Sequence[str], downloads: Path, site: Path, machine: str, *, dependencies: bool = True) -> None:
    """Unpack wheels, and what they depend on, for Debian 13's Python on a `machine` as uname calls it. A wheel is a ZIP archive
    of what is imported. Raises `Unavailable` without pip or network."""
    platforms = [f"manylinux_{version}_{machine}" for version in _GLIBC] + [f"manylinux2014_{machine}"]
    compatible = [word for name in platforms for word in ("--platform", name)]
    python = ["--python-version", PYTHON, "--implementation", "cp"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--only-binary", ":all:", "--dest", str(downloads)]
    run([*pip, *([] if dependencies else ["--no-deps"]), *compatible, *python, *packages])
    for wheel in sorted(downloads.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
