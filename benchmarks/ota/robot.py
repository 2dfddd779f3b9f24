"""A robot: the shared Debian with an image's files, a data partition, and processes that die together, as when power fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.ota.debian import BUS, PLACES, debian
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
_RAUC = f"""
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
TIMEOUT_S = 240.0
HERE = "--here --seconds 0.05 --iterations 3"
"""Options of the board's program: this is no board, and nobody waits for figures."""


@dataclass(frozen=True)
class Ended:
    """Exit code (negative: the signal), all output, and how long it took in seconds."""

    code: int
    output: str
    seconds: float


@dataclass(frozen=True)
class Running:
    """A command in a robot: `process` is that of the host which waits for it."""

    process: subprocess.Popen[bytes]
    output: BinaryIO
    began: float

    def power_off(self) -> None:
        """Kill all of the robot's processes at once, and wait until the last of them is gone."""
        for pid in self._first():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ended(self) -> Ended:
        """Of a process that has ended. A command that was killed has a code of its own: 128 and the signal, or its negative."""
        return Ended(self.process.returncode, self.text, time.monotonic() - self.began)

    @property
    def text(self) -> str:
        """What it has said so far."""
        size = os.fstat(self.output.fileno()).st_size
        return os.pread(self.output.fileno(), size, 0).decode(errors="replace")  # it writes at the file's one position

    def _first(self) -> list[int]:
        """The first process in the robot, with which the kernel ends all others; the host's own before there is one."""
        pid = self.process.pid
        if self.process.poll() is not None:
            return []
        try:
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] or [pid]
        except FileNotFoundError:
            return []


class Robot:
    """`folder` holds what is its own; /var/lib may be a small disk that is mounted there."""

    def __init__(self, folder: Path, program: Path, trust: Sequence[Path]) -> None:
        """With the board's program, the scripts of `targets/ota`, and keys of releases in its image. Raises `Unavailable`."""
        self.root, self.own = debian(), folder
        for place in PLACES:
            (folder / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(program, self.image("edgec-cpu.pyz"))
        shutil.copy(room("targets") / "ota" / "edgec-ota", self.image("edgec-ota"))
        for name in ("rauc-pre-install", "rauc-post-install"):
            shutil.copy(room("targets") / "ota" / "rauc" / name, self.image(name))
        (folder / "etc" / "edgec" / "trust").mkdir()
        for number, path in enumerate(trust):
            shutil.copy(path, folder / "etc" / "edgec" / "trust" / f"{number}.pem")
        self.configure(f'EDGEC_OPTIONS="{HERE}"\n')

    def configure(self, text: str) -> None:
        """Write /etc/edgec/ota.conf."""
        (self.own / "etc" / "edgec" / "ota.conf").write_text(text)

    def image(self, name: str) -> Path:
        """A file of /usr/lib/edgec."""
        return self.own / "usr" / "lib" / "edgec" / name

    @property
    def data(self) -> Path:
        """Its /var/lib."""
        return self.own / "var" / "lib"

    @property
    def edgec(self) -> Path:
        """Where releases are installed in it."""
        return self.data / "edgec"

    @property
    def update_is_open(self) -> bool:
        """Whether a release is neither committed nor undone."""
        return (self.edgec / "update.json").exists()

    def run(self, *argv: str, after: float | None = None, act: Callable[[], None] | None = None) -> Ended:
        """Run a command in it. `after` so many seconds its power fails: all its processes are killed at once, and its mounts are
        gone. With `act` that is called then instead, and the command goes on."""
        with self.started(*argv) as running:
            try:
                running.process.wait(TIMEOUT_S if after is None else after)
            except subprocess.TimeoutExpired:
                if after is None:
                    raise
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

    def rauc(self, bundle: str, **more: object) -> Ended:
        """Start the bus and RAUC's service, and `rauc install` a file that is in its /var/lib."""
        return self.run("sh", "-c", _RAUC, "rauc", bundle, **more)  # type: ignore[arg-type]

    def swupdate(self, file: str, **more: object) -> Ended:
        """`swupdate` with the certificate in the image."""
        return self.run("swupdate", "-v", "-k", "/etc/edgec/swupdate.pem", "-i", file, **more)  # type: ignore[arg-type]
