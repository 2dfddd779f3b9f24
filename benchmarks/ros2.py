"""ROS 2 from wheels: `rclpy` with Fast DDS in an environment of its own, and processes that hear nobody else.

The wheels (`ros-*`, version Kilted; Jazzy's are there too) exist for x86-64 Linux and CPython 3.10 to 3.14. They have
`sensor_msgs`, `diagnostic_msgs`, the lifecycle, and what generates messages; they have neither `vision_msgs` nor `launch` nor
`rosbag2`. Their packages set LD_LIBRARY_PATH at every start of their Python and start it again, so they get an environment of
their own. numpy and the model's runtime come from this one, which has the same Python."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs

from benchmarks.arm64.debian import Unavailable, require
from benchmarks.arm64.machine import made_once

PACKAGES = (
    "ros-rclpy[fastrtps]==9.1.2",
    "ros-sensor-msgs==5.5.1",
    "ros-diagnostic-msgs==5.5.1",
    "ros-lifecycle-msgs==2.3.0",
)
_INSTALL_S = 400
_LOOPBACK = "ip link set lo up && exec"


@dataclass(frozen=True)
class Ros2:
    """An environment with rclpy; `python` is its Python."""

    python: Path

    def run(
        self, words: Sequence[str | Path], *, path: Sequence[Path] = (), timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """A Python program and its children in a network of their own, where ROS finds nobody else. `path` is for its imports."""
        own = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        script = f'{_LOOPBACK} "$@"'
        command = [*own, "sh", "-c", script, "sh", str(self.python), *map(str, words)]
        return subprocess.run(
            command, env=self._environment(path), capture_output=True, text=True, check=False, timeout=timeout
        )  # fmt: skip

    def _environment(self, path: Sequence[Path]) -> Mapping[str, str]:
        packages = [*map(str, path), sysconfig.get_path("purelib")]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(packages), "ROS_LOG_DIR": str(self.python.parents[1] / "log")}


@cache
def ros2() -> Ros2:
    """Made once, in `$EDGEC_ROS2_DIR` or the user's cache. Raises `Unavailable` where there are no wheels or no networks to
    make."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unavailable("the wheels of ROS 2 are for x86-64 Linux only")
    require("unshare", "ip")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256("\n".join((version, sys.base_prefix, *PACKAGES)).encode()).hexdigest()[:16]
    chosen = os.environ.get("EDGEC_ROS2_DIR")
    folder = (Path(chosen) if chosen else Path(platformdirs.user_cache_dir("edgec-ros2"))) / key
    with made_once(folder) as work:
        if work is not None:
            venv.create(work, symlinks=True)
            pip = [sys.executable, "-m", "pip", "--python", str(work / "bin" / "python"), "install", "--quiet", "--no-input"]
            _call([*pip, *PACKAGES])
    found = Ros2(folder / "bin" / "python")
    done = found.run(["-c", "import rclpy.lifecycle"])
    if done.returncode != 0:
        raise Unavailable(f"rclpy cannot be used in a network of its own: {done.stderr.strip()[-300:]}")
    return found


def _call(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the wheels of ROS 2 cannot be installed: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"the wheels of ROS 2 cannot be installed: {done.stderr.strip()[-300:]}")
