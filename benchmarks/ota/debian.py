"""A Debian 13 with RAUC, SWUpdate, Mender, Python and ONNX Runtime, made once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import platformdirs

from benchmarks.arm64.debian import RELEASE, Apt, Unavailable, host_architecture, require, run
from benchmarks.arm64.machine import made_once
from benchmarks.arm64.wheels import install, pins

PACKAGES = (
    *("rauc", "squashfs-tools", "swupdate", "dbus-daemon", "mender-client", "mender-artifact"),
    *("python3", "openssl", "libgomp1", "libstdc++6"),
    *("dash", "coreutils", "mount", "sed"),
)
WHEELS = ("numpy", "onnxruntime")
RECIPE = 1
"""Grows when the folder is made in another way."""
PLACES = ("etc/edgec", "etc/mender", "etc/rauc", "usr/lib/edgec", "usr/share/mender", "var/lib", "media", "run", "tmp")
"""What each robot has of its own; all else they share."""
BUS = "usr/share/edgec-bus.conf"
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/><allow send_type="signal"/><allow own="*"/><allow user="*"/>
  </policy>
</busconfig>
"""
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@cache
def debian() -> Path:
    """Its root folder, which nobody changes. Made if it is not there yet: about 100 MB are fetched. Raises `Unavailable`, without
    root's rights too: robots have mounts of their own."""
    if os.geteuid() != 0:
        raise Unavailable("robots have mounts of their own, which takes root")
    require("unshare", "chroot", "losetup")
    run(["unshare", "--mount", "--pid", "--fork", "sh", "-c", "mount -t tmpfs tmpfs /tmp && losetup --find"])
    if "squashfs" not in Path("/proc/filesystems").read_text():
        raise Unavailable("this kernel has no squashfs, which RAUC mounts")
    architecture = host_architecture()
    if architecture not in _MACHINES:
        raise Unavailable(f"there is no ONNX Runtime for {architecture}")
    chosen = os.environ.get("EDGEC_OTA_DIR")
    parent = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("edgec-ota"))
    versions = pins(WHEELS)
    key = hashlib.sha256(repr((RECIPE, RELEASE, architecture, PACKAGES, PLACES, versions, _BUS)).encode()).hexdigest()[:16]
    folder = parent / f"{RELEASE}-{key}"
    with made_once(folder) as work:
        if work is not None:
            _make(work, architecture, versions)
    return folder


def _make(work: Path, architecture: str, versions: tuple[str, ...]) -> None:
    with TemporaryDirectory(prefix="edgec-ota-") as name:
        Apt(architecture, Path(name) / "apt").unpack(PACKAGES, work)
        for link in ("bin", "lib", "sbin"):  # one of Debian's scripts makes them
            if not (work / link).exists():
                (work / link).symlink_to(f"usr/{link}")
        site = work / "usr" / "lib" / "python3" / "dist-packages"
        install(versions, Path(name) / "wheels", site, _MACHINES[architecture], dependencies=False)
    for place in (*PLACES, "proc", "sys", "dev"):
        (work / place).mkdir(parents=True, exist_ok=True)
    (work / BUS).write_text(_BUS)
    (work / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (work / "etc" / "group").write_text("root:x:0:\n")
    run(["chroot", str(work), "/usr/bin/python3", "-m", "compileall", "-q", "/usr/lib/python3.13", "/usr/lib/python3"])
