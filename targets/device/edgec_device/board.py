"""Which board this is, what is installed on it, and whether the bundle was built for it."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Sequence

from edgec_onboard.errors import WrongBoard

from edgec_device.bundle import BoardProfile, Bundle
from edgec_device.system import System
from edgec_device.versions import parse

PACKAGES = ("nvidia-jetpack", "nvidia-l4t-core", "tensorrt", "libnvinfer8", "libnvinfer10", "libnvinfer11", "libnvinfer-bin")

OLDEST_GPU = "7.5"
"""The first compute capability with tensor cores for both fp16 and int8, and the first that TensorRT takes since 10.5 (NVIDIA
TensorRT Support Matrix, Hardware and Precision)."""

_L4T = re.compile(r"# R(\d{1,4}) \(release\), REVISION: ([\d.]{1,20})")
_TEXT = 300
"""The most characters of a name or a version."""
_JETPACK = {
    "35.2": "5.1", "35.3": "5.1.1", "35.4": "5.1.2", "35.5": "5.1.3", "35.6": "5.1.4", "36.3": "6.0", "36.4.0": "6.1",
    "36.4.3": "6.2", "36.4.4": "6.2.1", "36.4.7": "6.2.1", "36.5": "6.2.2", "38.2": "7.0", "38.4": "7.1", "39.2": "7.2",
}  # fmt: skip
"""By release of Jetson Linux, for boards without the nvidia-jetpack package (NVIDIA's JetPack archive; rbonghi/jetson_stats,
jetson_variables.py has the same table). The longest key that matches counts."""


@dataclass(frozen=True)
class Board:
    """`compatible` and `model` are the device tree's; `l4t` is the release of Jetson Linux, such as 36.4.3."""

    compatible: tuple[str, ...]
    model: str
    architecture: str
    l4t: str | None
    jetpack: str | None
    packages: Mapping[str, str]
    isa: tuple[str, ...] = ()
    """Flags of its CPU that edgec knows, where they matter."""
    host: Mapping[str, Any] = field(default_factory=dict)
    """What reports say of a machine (edgec/host/facts.py), where Linux' files do not say it."""

    @property
    def title(self) -> str:
        """What people call it."""
        if self.model:
            return self.model
        if self.compatible:
            return self.compatible[0]
        return f"a machine without a device tree ({self.architecture})"


def read_board(system: System) -> Board:
    """The board as its device tree, its release files and its package list describe it."""
    compatible = system.text("/proc/device-tree/compatible") or ""
    packages = _packages(system)
    release = _L4T.search(system.text("/etc/nv_tegra_release") or "")
    l4t = "{}.{}".format(*release.groups()) if release else _numbers(packages.get("nvidia-l4t-core"))
    return Board(
        compatible=tuple(part for part in compatible.split("\0") if part),
        model=(system.text("/proc/device-tree/model") or "")[:_TEXT],
        architecture=platform.machine(),
        l4t=l4t,
        jetpack=_numbers(packages.get("nvidia-jetpack")) or _jetpack_of(l4t),
        packages=packages,
    )


def profile_of(board: Board, bundle: Bundle) -> BoardProfile:
    """The bundle's profile of this board. Raises `WrongBoard` if it has none."""
    for profile in bundle.boards:
        if set(profile.compatible) & set(board.compatible):
            return profile
    titles = ", ".join(profile.title for profile in bundle.boards)
    raise WrongBoard(
        f"This bundle was built for {titles}; this is {board.title}.",
        evidence=["device tree: " + (", ".join(board.compatible) or "none"), f"bundle: {bundle.name}"],
        remedy="deploy it to one of those boards, or build one for this board: `edgec targets` lists the boards of "
        f"--target {bundle.family}",
    )


def profile_here(gpu: str, compute_capability: str, bundle: Bundle) -> BoardProfile:
    """A profile of this machine for `--here`, with every TensorRT that one of the bundle's boards may have.

    Raises `WrongBoard` for a GPU that is too old.
    """
    if parse(compute_capability) < parse(OLDEST_GPU):
        raise WrongBoard(
            f"This bundle's graphs need a newer GPU than {gpu}.",
            evidence=[f"compute capability {OLDEST_GPU} or newer needed, {compute_capability} found"],
            remedy="use a machine with a newer GPU; if this one has several, choose with CUDA_VISIBLE_DEVICES",
        )
    ranges = [profile.tensorrt for profile in bundle.boards]
    limits = {
        "min": min((each["min"] for each in ranges), key=parse),
        "below": max((each["below"] for each in ranges), key=parse),
    }
    return BoardProfile("here", gpu, (), compute_capability, (), limits)


def named_after(board: Board, gpu: str, system: System) -> Board:
    """The board, named after its GPU and CPU if no device tree names it."""
    if board.model or board.compatible:
        return board
    match = re.search(r"^model name\s*: (.+)$", system.text("/proc/cpuinfo") or "", re.MULTILINE)
    return replace(board, model=f"{gpu}, {match.group(1).strip() if match else board.architecture}")


def jetpack_listed(board: Board, profile: BoardProfile) -> bool:
    """Whether the profile lists this JetPack; 6.2.1 counts as 6.2."""
    version = board.jetpack
    return version is not None and any(version == known or version.startswith(known + ".") for known in profile.jetpack)


def wrong_gpu(name: str, compute_capability: str, profile: BoardProfile) -> WrongBoard:
    """The error for a GPU with another compute capability than the profile's."""
    return WrongBoard(
        f"This bundle was built for the GPU of a {profile.title}; trtexec uses another one.",
        evidence=[f"compute capability {profile.compute_capability} expected, {compute_capability} found ({name})"],
        remedy="make the module's own GPU the first device, for example with CUDA_VISIBLE_DEVICES",
    )


def _packages(system: System) -> dict[str, str]:
    """Versions of the installed `PACKAGES`, from dpkg's file, so that dpkg need not run."""
    versions = {}
    for entry in (system.text("/var/lib/dpkg/status") or "").split("\n\n"):
        fields = _fields(entry.splitlines(), ("Package", "Status", "Version"))
        if fields.get("Package") in PACKAGES and fields.get("Status", "").endswith(" installed") and "Version" in fields:
            versions[fields["Package"]] = fields["Version"]
    return versions


def _fields(lines: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    fields = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if colon and name in names:
            fields[name] = value.strip()[:_TEXT]
    return fields


def _numbers(version: str | None) -> str | None:
    """`6.2.1+b38` and `36.4.3-20250107174145` without what follows the numbers."""
    match = re.match(r"\d+(\.\d+)*", (version or "")[:_TEXT])
    return match.group() if match else None


def _jetpack_of(l4t: str | None) -> str | None:
    parts = (l4t or "").split(".")
    for count in (3, 2):
        if ".".join(parts[:count]) in _JETPACK:
            return _JETPACK[".".join(parts[:count])]
    return None
