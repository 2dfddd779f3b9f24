"""Which GPUs the installed compiler knows, and which of them stands for a Jetson's."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

from edgec import extras
from edgec.errors import RequestError
from edgec.lowering.base import Availability

MODULE = "tensorrt_rtx_bindings"
DISTRIBUTIONS = ("tensorrt-rtx-cu12-bindings", "tensorrt-rtx-cu13-bindings")
INSTALL = extras.EXTRAS["nvidia"].line
TITLE = "TensorRT-RTX"

SMS = ("75", "80", "86", "89", "120", "121")
"""All that any version compiles for."""
_SINCE = {"121": (1, 5)}
"""The first version that compiles for an SM, if it is none of the oldest."""
_STANDS_FOR = {"8.7": "86", "11.0": "120"}
"""By a Jetson's compute capability. Orin's SM87 has the instructions of SM86; Thor's SM110 is a Blackwell like SM120. Xavier's
Volta is older than all that the compiler knows."""
_CORES = {"1.4": "10.16", "1.5": "11.0", "1.6": "11.2", "1.7": "11.4"}
"""The TensorRT in each version of TensorRT-RTX, as the paths in its libraries say."""


def availability() -> Availability:
    """Whether the compiler is installed; nothing of it is loaded."""
    version = installed_version()
    if version:
        return Availability(True, version)
    return Availability(False, problem="not installed", install=INSTALL)


def installed_version() -> str:
    """Of the installed compiler, e.g. "1.7.1.116"; empty if there is none."""
    if not extras.installed(MODULE):
        return ""
    for distribution in DISTRIBUTIONS:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def core_of(version: str) -> str:
    """The TensorRT that this version of TensorRT-RTX is built from; empty where that is not known."""
    return _CORES.get(".".join(version.split(".")[:2]), "")


def sms_of(version: str) -> tuple[str, ...]:
    """The SMs that this version of TensorRT-RTX compiles for; for a version that is not known, those that every version has."""
    parts = version.split(".")[:2]
    number = tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else (0, 0)
    return tuple(sm for sm in SMS if number >= _SINCE.get(sm, (0, 0)))


def stand_in(compute_capability: str) -> str:
    """The SM that is compiled for in place of a Jetson's GPU; empty if there is none."""
    return _STANDS_FOR.get(compute_capability, "")


def parse_sms(text: str) -> tuple[str, ...]:
    """`86,121` as the SMs that are meant, each once. Raises `RequestError` for one that no version knows."""
    asked = tuple(dict.fromkeys(part.strip().lower().removeprefix("sm") for part in text.split(",")))
    unknown = [part for part in asked if part not in SMS]
    if unknown:
        raise RequestError(
            f"NVIDIA's compiler has no SM {', '.join(map(repr, unknown))}.",
            evidence=f"{TITLE} compiles for {', '.join(SMS)}",
            remedy="give one or more of these, with commas between them: 86 stands for Orin, 120 and 121 for Thor",
        )
    return asked


def sms_for(compute_capabilities: Iterable[str]) -> tuple[str, ...]:
    """Each SM that stands for one of these, once."""
    return tuple(dict.fromkeys(sm for capability in compute_capabilities if (sm := stand_in(capability))))
