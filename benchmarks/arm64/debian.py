"""Debian packages of any architecture, fetched from the mirror that this machine's own apt uses, and unpacked. Nothing is
installed, and no root is needed: apt gets folders of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

RELEASE = "trixie"
"""Debian 13: its qemu-user 10 runs ONNX Runtime, on which Debian 12's 7.2 crashes, and OpenVINO's wheel takes its glibc."""
_TIMEOUT_S = 240


class Unavailable(Exception):
    """Something that this machine lacks, in words; tests that need it are skipped with them."""


class Apt:
    """apt for one `architecture` (`arm64`, `amd64`), with its state in `folder`. As on a machine without any package.

    Raises `Unavailable` without apt or network, or where apt uses no Debian mirror.
    """

    def __init__(self, architecture: str, folder: Path, *, sources: bool = False) -> None:
        require("apt-get", "dpkg-deb")
        for part in ("lists/partial", "archives/partial", "parts", "log", "preferences", "config"):
            (folder / part).mkdir(parents=True)
        (folder / "status").touch()
        kind = "deb-src" if sources else "deb"
        (folder / "parts" / "debian.list").write_text(f"{kind} {_signed()}{_mirror()} {RELEASE} main\n")
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Dir::State": folder,
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder,
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": folder / "parts",
            "Dir::Etc::preferencesparts": folder / "preferences",
            "Dir::Log": folder / "log",
        }
        self._folder = folder
        self._options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        self._apt("update")

    def unpack(self, packages: Sequence[str], directory: Path) -> None:
        """The packages and all that they depend on, unpacked into `directory`. No maintainer's script runs."""
        self._apt("install", "--download-only", "--yes", *packages)
        for archive in sorted((self._folder / "archives").glob("*.deb")):
            run(["dpkg-deb", "--extract", str(archive), str(directory)])

    def unpack_alone(self, package: str, directory: Path) -> None:
        """One package, without what it depends on, unpacked into `directory`."""
        self._apt("download", package, cwd=self._folder / "archives")
        for archive in (self._folder / "archives").glob(f"{package}_*.deb"):
            run(["dpkg-deb", "--extract", str(archive), str(directory)])

    def source(self, package: str, directory: Path) -> Path:
        """The upstream archive of a source package, downloaded into `directory`."""
        self._apt("source", "--download-only", package, cwd=directory)
        return next(directory.glob(f"{package}_*.orig.tar.*z"))

    def _apt(self, *words: str, cwd: Path | None = None) -> None:
        run(["apt-get", "--quiet=2", *self._options, *words], cwd)


def host_architecture() -> str:
    """As dpkg names it."""
    require("dpkg")
    return run(["dpkg", "--print-architecture"]).strip()


def require(*tools: str) -> None:
    """Raises `Unavailable` unless these commands exist."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise Unavailable(f"no {', no '.join(missing)} here")


def run(command: Sequence[str], cwd: Path | None = None, timeout: float = _TIMEOUT_S) -> str:
    """What the command prints. Raises `Unavailable` with the end of what it says if it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-4:]
        raise Unavailable(f"{command[0]} ended with {done.returncode}: {' / '.join(said)}")
    return done.stdout


def _mirror() -> str:
    """The Debian mirror among the sources of this machine's apt."""
    answer = run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(SITE)", "Created-By: Packages"])
    for line in answer.splitlines():
        origin, label, site = line.split("|", 2)
        # Before the first `apt-get update` only the address is known.
        if (origin, label) == ("Debian", "Debian") or (
            origin != "Debian" and origin[:1] in ("$", "") and site.endswith("/debian")
        ):
            return site
    raise Unavailable("this machine's apt uses no Debian mirror")


def _signed() -> str:
    keys = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return f"[signed-by={keys}] " if keys.is_file() else ""
