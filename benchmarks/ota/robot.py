"""A robot: the shared Debian with an image's files, a data partition, and processes that die together, as when power fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.ota.debian import BUS, PLACES, debian
from benchmarks.ota.releases import NAME, Releases
from edgec.resources import room

_ENTER = r"""
set -e
mount --bind "$EDGEC_ROOT" "$EDGEC_PLACE"
mount -o remount,bind,ro "$EDGEC_PLACE"
for name in $EDGEC_PLACES; do mount --bind "$EDGEC_OWN/$name" "$EDGEC_PLACE/$name"; done
mount -t proc proc "$EDGEC_PLACE/proc"
mount --rbind /dev "$EDGEC_PLACE/dev"
mount --rbind /sys "$EDGEC_PLACE/sys"
exec env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 chroot "$EDGEC_PLACE" "$@"
"""
RAUC = f"""
mkdir -p /run/dbus
dbus-daemon --config-file=/{BUS} --fork
rauc service --override-boot-slot=system >/run/rauc.log 2>&1 &
tries=0
until rauc status >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || {{ cat /run/rauc.log; exit 99; }}
    sleep 0.1
done
rauc install "$1"
code=$?
cat /run/rauc.log
exit $code
"""
"""The bus, RAUC's service, and `rauc install`."""
_SLOT = """
[slot.system.0]
device=/dev/null
bootname=system
"""
"""RAUC wants to know from which slot the system was started, though nothing is written there."""
PROGRAM = "/usr/lib/edgec/edgec-cpu"
"""The board's program, unpacked: each start of the archive would compile it again."""
TIMEOUT_S = 240.0
OPTIONS = "--here --seconds 0.05 --iterations 3"
"""Of the board's program: this is no board, and nobody waits for figures."""


@dataclass(frozen=True)
class Ended:
    """Exit code (negative: the signal), all output, and how long it took in seconds."""

    code: int
    output: str
    seconds: float


@dataclass
class Running:
    """A command in a robot: `process` is that of the host which waits for it."""

    process: subprocess.Popen[bytes]
    output: BinaryIO
    began: float
    killed: bool = False

    def power_off(self) -> None:
        """Kill all of the robot's processes at once, and wait until the last of them is gone."""
        self.killed = self.process.poll() is None
        for pid in self._first():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ended(self) -> Ended:
        """Of a process that has ended; by SIGKILL where the power failed, though some versions of unshare end with 1 then."""
        code = -signal.SIGKILL if self.killed and self.process.returncode else self.process.returncode
        return Ended(code, self.text, time.monotonic() - self.began)

    @property
    def text(self) -> str:
        """What it has said so far."""
        # Not by reading the file: it is written at the one position that it has.
        return os.pread(self.output.fileno(), os.fstat(self.output.fileno()).st_size, 0).decode(errors="replace")

    def _first(self) -> list[int]:
        """The first process in the robot, with which the kernel ends all others; the host's own before there is one."""
        if self.process.poll() is not None:
            return []
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] or [pid]


class Robot:
    """`folder` holds what is its own. Another file system may be mounted at `data`."""

    def __init__(self, folder: Path, releases: Releases) -> None:
        """A robot on which nothing is active. Its image has the board's program of the releases, the files of `targets/ota`, and
        the keys that they are signed with. Raises `Unavailable`."""
        self.root, self.own, self.releases = debian(), folder, releases
        for place in PLACES:
            (folder / place).mkdir(parents=True, exist_ok=True)
        _image(folder, releases)
        for name in ("edgec-rauc", "rauc"):
            self.data.joinpath(name).mkdir(exist_ok=True)
        self.configure("")

    def configure(self, text: str) -> None:
        """More lines for /etc/edgec/ota.conf."""
        own = f'EDGEC_PROGRAM={PROGRAM}\nEDGEC_OPTIONS="{OPTIONS}"\n'
        (self.own / "etc" / "edgec" / "ota.conf").write_text(own + text)

    @property
    def data(self) -> Path:
        """Its /var/lib, which outlives its power."""
        return self.own / "var" / "lib"

    def copy_data(self, other: Robot) -> None:
        """What another robot has installed."""
        shutil.copytree(other.data, self.data, symlinks=True, dirs_exist_ok=True)

    def active(self) -> str:
        """The version whose model the robot would load; empty if there is none."""
        links = [path for path in self.data.glob("edgec/*/current") if path.is_symlink()]
        if not links:
            return ""
        (link,) = links
        return self.releases.version_of(link / "model.onnx")

    @property
    def update_is_open(self) -> bool:
        """Whether an update is neither committed nor undone."""
        return (self.data / "edgec" / "update.json").exists()

    def program(self, command: str, *more: str) -> Ended:
        """The board's program."""
        own = ["python3", PROGRAM, command, "--dir", "/var/lib/edgec", *OPTIONS.split()]
        return self.run(*own, *more)

    def install(self, tool: str, file: Path, **more: object) -> Ended:
        """Give the robot a file, as on a stick, and let its OTA tool install it."""
        shutil.copy(file, self.own / "media")
        path = f"/media/{file.name}"
        if tool == "rauc":
            return self.run("sh", "-c", RAUC, "rauc", path, **more)  # type: ignore[arg-type]
        trusted = ["-H", "robot:1", "-k", "/etc/edgec/swupdate.pem"]
        return self.run("swupdate", "-v", *trusted, "-i", path, **more)  # type: ignore[arg-type]

    def run(self, *argv: str, after: float | None = None, act: Callable[[], None] | None = None) -> Ended:
        """Run a command in it. `after` so many seconds its power fails: all its processes are killed at once, and its mounts are
        gone. With `act` that is called then instead, and the command goes on."""
        with self.started(*argv) as running:
            if after is not None:
                try:
                    running.process.wait(after)
                except subprocess.TimeoutExpired:
                    if act is None:
                        running.power_off()
                    else:
                        act()
            running.process.wait(TIMEOUT_S)
            return running.ended()

    @contextmanager
    def started(self, *argv: str) -> Iterator[Running]:
        """A command in it, whose power fails at the end of the context, unless it is done by then."""
        for place in ("run", "tmp"):  # as after a start
            shutil.rmtree(self.own / place)
            (self.own / place).mkdir()
        with tempfile.TemporaryDirectory(prefix="edgec-robot-") as place, tempfile.TemporaryFile("w+b") as output:
            environment = {
                **os.environ,
                "EDGEC_ROOT": str(self.root),
                "EDGEC_OWN": str(self.own),
                "EDGEC_PLACE": place,
                "EDGEC_PLACES": " ".join(PLACES),
            }
            own = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL"]
            process = subprocess.Popen(
                [*own, "sh", "-c", _ENTER, "sh", *argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
            running = Running(process, output, time.monotonic())
            try:
                yield running
            finally:
                running.power_off()


def _image(folder: Path, releases: Releases) -> None:
    """What `docs/ota-rauc.md` and `docs/ota-swupdate.md` say that an image has."""
    ours, code, etc = room("targets") / "ota", folder / "usr" / "lib" / "edgec", folder / "etc"
    shutil.copytree(releases.program, folder / PROGRAM.lstrip("/"))
    for path in (ours / "edgec-ota", ours / "rauc" / "rauc-pre-install", ours / "rauc" / "rauc-post-install"):
        shutil.copy(path, code)
    (etc / "edgec" / "trust").mkdir(exist_ok=True)
    shutil.copy(f"{releases.key}.pub", etc / "edgec" / "trust" / "release.pem")
    shutil.copy(releases.pair("swupdate").certificate, etc / "edgec" / "swupdate.pem")
    shutil.copy(releases.pair("rauc").certificate, etc / "rauc" / "keyring.pem")
    fragment = (ours / "rauc" / "system.conf").read_text()
    # Of this machine's kernel nothing is known: dm-verity may be missing.
    fragment = fragment.replace("bundle-formats=verity", "bundle-formats=plain verity\nmountprefix=/run/rauc")
    (etc / "rauc" / "system.conf").write_text(fragment.replace("compatible=robot", f"compatible={NAME}") + _SLOT)
