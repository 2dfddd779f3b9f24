"""A robot with a kernel of its own, emulated: for dm-verity, which this machine's kernel may lack, and power that really fails.

QEMU runs Debian's kernel with the shared Debian as a read-only disk. /var/lib is a disk whose file outlives the machine: when its
process is killed, what it had not flushed is lost. What the image has of its own, and files on a stick, come in a tar archive.
"""

from __future__ import annotations

import io
import lzma
import re
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer

from benchmarks.arm64.debian import Apt, Unavailable, host_architecture, run
from benchmarks.arm64.machine import made_once
from benchmarks.ota.debian import debian
from benchmarks.ota.releases import debians_programs

MODULES = ("virtio_blk", "squashfs", "loop", "dm_verity")
TOOLS = ("qemu-system-x86", "busybox-static", "e2fsprogs")
KERNEL = "linux-image-cloud-amd64"
RECIPE = 1
_END = "edgec-machine-ended"
_DISK = 160 << 20
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module.ko; done
mount -t squashfs -o ro /dev/vda /root
mount -t ext4 /dev/vdb /root/var/lib
for place in etc/edgec etc/rauc usr/lib/edgec media run tmp; do mount -t tmpfs tmpfs /root/$place; done
tar -x -f /dev/vdc -C /root
for place in dev proc sys; do mount --move /$place /root/$place; done
exec chroot /root /bin/sh -c 'exec /bin/sh /media/start </dev/ttyS0 >/dev/ttyS0 2>&1'
"""


@dataclass(frozen=True)
class Parts:
    """`folder` holds qemu, the kernel, the first file system and the root's."""

    folder: Path

    def program(self, name: str) -> list[str]:
        """A program of Debian 13, started by its own loader with its own libraries."""
        (libraries,) = self.folder.glob("tools/usr/lib/*-linux-gnu")
        (loader,) = libraries.glob("ld-linux-*.so.*")
        return [str(loader), "--library-path", str(libraries), str(self.folder / "tools" / "usr" / name)]


@cache
def parts() -> Parts:
    """Made once, like `debian`: about 100 MB more. Raises `Unavailable`; on other machines than x86-64 too."""
    if host_architecture() != "amd64":
        raise Unavailable("the emulated robot is for x86-64")
    root = debian()
    folder = root.with_name(f"{root.name}-machine-{RECIPE}")
    with made_once(folder) as work:
        if work is not None:
            _make(work, root)
    return Parts(folder)


class Machine:
    """`own` are files of its own by their paths; `folder` keeps its disk."""

    def __init__(self, folder: Path, own: Path, data: Path) -> None:
        """With a copy of `data` as its /var/lib. Raises `Unavailable`."""
        self.parts, self.own, self.disk = parts(), own, folder / "disk"
        self._stick = folder / "stick.tar"
        with self.disk.open("wb") as file:
            file.truncate(_DISK)
        run([*self.parts.program("sbin/mke2fs"), "-q", "-t", "ext4", "-d", str(data), str(self.disk)])

    def run(self, script: str, files: Sequence[Path] = (), *, until: str = "", timeout: float = 3600) -> tuple[int | None, str]:
        """Start it, run a shell's script with `files` in /media, and end it. Returns the script's exit code and all output.

        Once a line with `until` is printed its power fails, and the code is None.
        """
        self._write_stick(script, files)
        qemu = self.parts.program("bin/qemu-system-x86_64")
        shared = self.parts.folder / "tools" / "usr" / "share"
        data = [word for place in ("qemu", "seabios") for word in ("-L", str(shared / place))]
        plain = ["-accel", "tcg", "-cpu", "max", "-m", "1024", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"]
        drives = [(self.parts.folder / "root.squashfs", "on"), (self.disk, "off"), (self._stick, "on")]
        disks = [word for path, fixed in drives for word in ("-drive", f"file={path},format=raw,if=virtio,readonly={fixed}")]
        kernel = ["-kernel", str(self.parts.folder / "kernel"), "-initrd", str(self.parts.folder / "initrd")]
        options = ["-append", "console=ttyS0 quiet panic=-1 rauc.slot=system", "-serial", "stdio"]
        command = [*qemu, *data, *plain, *kernel, *options, *disks]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        watch = Timer(timeout, process.kill)
        watch.start()
        lines, code = [], None
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line)
                if until and until in line:
                    break
                if found := re.search(rf"{_END} (\d+)", line):
                    code = int(found[1])
        finally:
            watch.cancel()
            process.kill()
            process.stdout.close()
            process.wait()
        return code, "".join(lines)

    def _write_stick(self, script: str, files: Sequence[Path]) -> None:
        opening = "export PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1"
        start = f"{opening}\n(\n{script}\n)\necho {_END} $?\nsync\necho o >/proc/sysrq-trigger\nsleep 60\n"
        with tarfile.open(self._stick, "w") as archive:
            for place in ("etc", "usr"):
                archive.add(self.own / place, place)
            for path in files:
                archive.add(path, f"media/{path.name}")
            fact = tarfile.TarInfo("media/start")
            fact.size = len(start)
            archive.addfile(fact, io.BytesIO(start.encode()))


def _make(work: Path, root: Path) -> None:
    with TemporaryDirectory(prefix="edgec-machine-") as name:
        scratch = Path(name)
        Apt("amd64", scratch / "tools").unpack(TOOLS, work / "tools")
        Apt("amd64", scratch / "apt").unpack([KERNEL], scratch / "kernel")
        (image,) = (scratch / "kernel" / "boot").glob("vmlinuz-*")
        run(["cp", str(image), str(work / "kernel")])
        first = scratch / "first"
        for place in ("bin", "modules", "dev", "proc", "sys", "root"):
            (first / place).mkdir(parents=True)
        busybox = work / "tools" / "usr" / "bin" / "busybox"
        run(["cp", str(busybox), str(first / "bin" / "busybox")])
        modules = _unpack_modules(scratch / "kernel", first / "modules")
        (first / "init").write_text(_INIT.format(modules=" ".join(modules)))
        (first / "init").chmod(0o755)
        pack = 'cd "$1" && find . | "$2" cpio -o -H newc >"$3"'
        run(["sh", "-c", pack, "sh", str(first), str(busybox), str(work / "initrd")])
        with debians_programs(scratch):
            quiet = ["-comp", "lz4", "-all-root", "-quiet", "-no-progress"]
            run(["mksquashfs", str(root), str(work / "root.squashfs"), *quiet])


def _unpack_modules(kernel: Path, place: Path) -> list[str]:
    """Modules, and those that they need before them, by their names. busybox loads them as they are: not compressed."""
    archives = {path.name.split(".")[0].replace("-", "_"): path for path in kernel.rglob("*.ko.xz")}
    order: list[str] = []

    def add(name: str) -> None:
        if name not in order:
            content = lzma.decompress(archives[name].read_bytes())
            found = re.search(rb"\0depends=([^\0]*)", content)
            for needed in filter(None, found[1].decode().split(",") if found else ()):
                add(needed.replace("-", "_"))
            order.append(name)
            (place / f"{name}.ko").write_bytes(content)

    for name in MODULES:
        add(name)
    return order
