"""Target profiles: what a device, or a class of devices, can do, read from `targets/<family>/<name>.toml` or a user's own file.

`targets/README.md` explains the keys.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from edgec.errors import TargetError
from edgec.host.cpuinfo import FLAGS
from edgec.paths import given
from edgec.records.base import Record
from edgec.records.report import Host
from edgec.resources import room
from edgec.untrusted import TEXT_LIMIT, Refused, parse_toml, read_bytes

HOST = "cpu"
"""The target that is the host's own best profile."""
JETSON = "jetson"
"""The family whose artefact serves all its boards: see `family`."""
APPLE = "apple"
"""The family whose artefact serves every M-series chip."""

Precision = Literal["fp32", "fp16", "bf16", "int8", "w8", "w6", "w4"]


class Int8Facts(Record):
    """How the CPU multiplies bytes."""

    dot_product: bool
    """It multiplies and sums four of them into 32 bits in one instruction."""
    activations: Literal["u8", "s8"]
    """The type of activations, weights being s8, that its runtimes have the fastest kernels for."""
    pairs_saturate: bool
    """It adds neighbouring products in pairs, in 16 bits that saturate: weights must be scaled so that no pair can."""


class Promise(Record):
    """What a user may rely on, and whose word that is."""

    text: str = Field(min_length=1)
    source: str = Field(min_length=1)


class JetPack(Record):
    """A release of NVIDIA's software for the board, and the TensorRT that it brings."""

    version: str = Field(pattern=r"^\d+(\.\d+)*$")
    tensorrt: str = Field(pattern=r"^\d+(\.\d+)*$")


class TensorRtRange(Record):
    """From `min` up to but not `below`."""

    min: str = Field(pattern=r"^\d+(\.\d+)*$")
    below: str = Field(pattern=r"^\d+(\.\d+)*$")


class Rates(Record):
    """What the GPU can do at most: dense, not with half of the weights zero. A multiplication and an addition are two operations.

    A precision without a rate is one that no source gives. `fp32` is that of the tensor cores (TF32) where they take it.
    """

    int8_tops: float | None = Field(default=None, gt=0)
    fp16_tflops: float = Field(gt=0)
    fp32_tflops: float = Field(gt=0)
    bandwidth_gbs: float = Field(gt=0)
    """Of the memory, which CPU and GPU share, 10^9 bytes a second."""


class PowerMode(Record):
    """One of `nvpmodel`'s. Rates that no source gives are absent, not guessed."""

    name: str = Field(min_length=1)
    id: int = Field(ge=0)
    """Of the module named first in `examples`: numbers differ from module to module."""
    watts: float | None = Field(default=None, gt=0)
    """The budget; None for a mode without one."""
    rates: Rates | None = None
    source: str = Field(min_length=1)


class Jetson(Record):
    """A Jetson module: how a program on the board recognises it, what software it may have, what its GPU does at most."""

    compatible: tuple[str, ...] = Field(min_length=1)
    """Any of these in /proc/device-tree/compatible is this board."""
    compute_capability: str = Field(pattern=r"^\d+\.\d$")
    cache_mib: float = Field(gt=0)
    """The GPU's L2 and the system's last-level cache together: what weights could outlast a run in."""
    jetpack: tuple[JetPack, ...] = Field(min_length=1)
    installable: tuple[str, ...] = ()
    """TensorRT versions that no JetPack brings, but one lets be installed."""
    tensorrt: TensorRtRange
    modes: tuple[PowerMode, ...] = Field(min_length=1)
    """The fastest first."""
    in_family: bool = True
    """Whether `--target jetson` means it too."""

    @property
    def tensorrt_versions(self) -> tuple[str, ...]:
        """What a graph for this board must be right for, each once, oldest first."""
        return tuple(dict.fromkeys((*(release.tensorrt for release in self.jetpack), *self.installable)))

    @property
    def fastest(self) -> PowerMode:
        return self.modes[0]

    @model_validator(mode="after")
    def _consistent(self) -> Jetson:
        low, high = _version(self.tensorrt.min), _version(self.tensorrt.below)
        for version in self.tensorrt_versions:
            if not low <= _version(version) < high:
                raise ValueError(f"tensorrt: the range leaves out {version}, which the board can have")
        if self.fastest.rates is None:
            raise ValueError("modes: the first one, the fastest, must have rates")
        return self


class NeuralEngine(Record):
    """`generation` is the name that Apple's compiler has for it, where that is known; `tops` what Apple says that it does, in
    whatever type was Apple's at the time."""

    generation: str | None = Field(default=None, pattern=r"^H\d+[a-z]?$")
    cores: int = Field(ge=1)
    tops: float | None = Field(default=None, gt=0)
    source: str = Field(min_length=1)


class Apple(Record):
    """A chip of Apple's: what Core ML has there to run on, and from which system on."""

    minimum_os: dict[Literal["ios", "macos"], str] = Field(min_length=1)
    """By system, for those that run on the chip; iPadOS counts as iOS. What edgec writes needs those of `FIRST_OS`."""
    compute_units: tuple[Literal["neural-engine", "gpu", "cpu"], ...] = Field(min_length=1)
    """What a package may be measured on; fixed shapes are what the Neural Engine asks for."""
    neural_engine: NeuralEngine
    w8a8_pays: bool
    """Whether the Neural Engine multiplies bytes faster than halves. CPU and GPU may be slower in W8A8 everywhere."""
    in_family: bool = True
    """Whether `--target apple` means it too."""

    @model_validator(mode="after")
    def _consistent(self) -> Apple:
        for system, version in self.minimum_os.items():
            if _version(version) < _version(FIRST_OS[system]):
                raise ValueError(f"minimum_os: {system} {version} takes no package of edgec's, {FIRST_OS[system]} does")
        return self


_MOST_EXTENDED = 16
"""Profiles between one and the last that it extends."""
FIRST_OS = {"ios": "18.0", "macos": "15.0"}


class Profile(Record):
    """A device or a class of devices. Frozen and closed: an unknown key is an error, not a wish.

    What only one family has lies in a table of its own: `int8` and `isa` are a CPU's, `jetson` is a Jetson's, `apple` a chip's of
    Apple's.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    family: str
    title: str
    examples: str = ""
    architecture: Literal["x86_64", "aarch64"]
    isa: tuple[str, ...] = ()
    """The flags that a device must have, spelled as in /proc/cpuinfo."""
    rank: int | None = None
    """Of the profiles that suit a host, `cpu` means the one of the highest rank; one without a rank must be asked for by name."""
    precisions: dict[Precision, tuple[str, ...]]
    """The runtimes that are worth trying for each, the preferred one first. A precision with none is switched off."""
    int8: Int8Facts | None = None
    jetson: Jetson | None = None
    apple: Apple | None = None
    cores: int | None = Field(default=None, ge=1)
    memory_gib: float | None = Field(default=None, gt=0)
    promises: tuple[Promise, ...] = ()

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Every runtime of any precision, in order of appearance."""
        return tuple(dict.fromkeys(runtime for runtimes in self.precisions.values() for runtime in runtimes))

    @property
    def candidates(self) -> tuple[tuple[str, Precision], ...]:
        """Every pair of runtime and precision worth building."""
        return tuple((runtime, precision) for precision, runtimes in self.precisions.items() for runtime in runtimes)

    @property
    def is_remote(self) -> bool:
        """Whether what is built for it runs on another machine than this, and is imitated here."""
        return self.jetson is not None or self.apple is not None

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(promise.source for promise in self.promises))

    @field_validator("precisions")
    @classmethod
    def _without_empty(cls, value: dict[Precision, tuple[str, ...]]) -> dict[Precision, tuple[str, ...]]:
        return {precision: runtimes for precision, runtimes in value.items() if runtimes}

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        known = FLAGS[self.architecture]
        for flag in self.isa:
            if flag not in known:
                raise ValueError(f"isa: {flag!r} is none of the {self.architecture} flags {', '.join(known)}")
        if not self.precisions:
            raise ValueError("precisions: none has a runtime")
        if (self.family == JETSON) != (self.jetson is not None):
            raise ValueError("jetson: the family 'jetson' has this table, and no other has it")
        if (self.family == APPLE) != (self.apple is not None):
            raise ValueError("apple: the family 'apple' has this table, and no other has it")
        if self.is_remote:
            if self.isa or self.int8 is not None or self.rank is not None:
                raise ValueError(f"isa, int8 and rank are for CPUs; the [{self.family}] table says what a board can do")
            return self
        if not self.isa:
            raise ValueError("isa: a CPU's profile must name the flags that it requires")
        if "int8" in self.precisions and self.int8 is None:
            raise ValueError("int8: precisions has int8, so the [int8] table must say how it is computed")
        return self


def list_profiles() -> tuple[Profile, ...]:
    """edgec's own profiles, by family and architecture; a class of devices before the boards in it."""
    profiles = [_read(path) for path in _own().values()]
    return tuple(sorted(profiles, key=lambda p: (p.family, p.architecture, p.rank is None, p.rank or 0, p.name)))


def resolve(name_or_path: str, host: Host) -> Profile:
    """The profile of that name, or of the TOML file at that path; `cpu` is the host's own best.

    Raises `TargetError`: no such name (with those near it), no such file, a file that is no profile, no profile for the host, or
    a family of several boards (`family` gives them).
    """
    if name_or_path == HOST:
        return _best(host)
    if several := family(name_or_path):
        raise TargetError(
            f"{name_or_path} is a family of {len(several)} targets, not one.",
            evidence=", ".join(profile.name for profile in several),
            remedy=f"name one of these here; `edgec build --target {name_or_path}` builds for all of them",
        )
    if name_or_path.endswith(".toml") or os.sep in name_or_path:
        return _read(given(name_or_path, "The target's profile"))
    return _read(_path_of(name_or_path))


def family(name: str) -> tuple[Profile, ...]:
    """The profiles that one build for the family `name` serves: for `jetson` all of Orin and Thor, for `apple` every M-series;
    empty for any other name.

    AGX Xavier must be asked for by its name, its TensorRT being another generation; so must phones.
    """
    if name not in (JETSON, APPLE):
        return ()
    tables = ((profile, profile.jetson or profile.apple) for profile in list_profiles() if profile.family == name)
    return tuple(profile for profile, table in tables if table is not None and table.in_family)


def order(devices: Sequence[Profile]) -> tuple[str, ...]:
    """The order in which chips of Apple's should be given precisions while nobody has measured: W8A8 first where it pays on all
    of them. Weights in 8 bits halve what is stored and moved, and cost next to nothing of the features; in fewer bits they cost
    more, and a float32 package cannot use the Neural Engine at all."""
    pays = all(device.apple is not None and device.apple.w8a8_pays for device in devices)
    return (*(("int8",) if pays else ()), "w8", "fp16", *(() if pays else ("int8",)), "w6", "w4", "fp32")


def missing(profile: Profile, host: Host) -> tuple[str, ...]:
    """What the host's CPU lacks of what the profile requires: flags, or the architecture and with it all of them. For a Jetson or
    a chip of Apple's it is the device: nothing of this machine's runs what is built for it."""
    if profile.is_remote:
        return (profile.title,)
    if host.architecture != profile.architecture:
        return (profile.architecture, *profile.isa)
    return tuple(flag for flag in profile.isa if flag not in host.isa)


def _best(host: Host) -> Profile:
    ranked = [profile for profile in list_profiles() if profile.rank is not None]
    suitable = [profile for profile in ranked if not missing(profile, host)]
    if suitable:
        return max(suitable, key=lambda profile: profile.rank or 0)
    nearest = [f"{profile.name} needs {', '.join(missing(profile, host))}" for profile in ranked]
    raise TargetError(
        "No CPU profile suits this host.",
        evidence=[
            f"{host.cpu}, {host.architecture}, with {', '.join(host.isa) or 'none of the flags that edgec knows'}",
            *nearest,
        ],
        remedy="build for another target by its name, or describe this one in a TOML file and give its path",
    )


def _own() -> dict[str, Path]:
    """edgec's own profiles: files are named as the profiles in them."""
    return {path.stem: path for path in sorted(room("targets").glob("*/*.toml"))}


def _path_of(name: str) -> Path:
    known = _own()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near += [other for other in known if name in other and other not in near]
    raise TargetError(
        f"There is no target named {name!r}.",
        evidence=[f"near it: {', '.join(near)}"] * bool(near) + [f"all: {HOST}, {JETSON}, {APPLE}, {', '.join(known)}"],
        remedy="take one of these, or give the path of a TOML file of your own; `edgec targets` shows what each is for",
    )


def _read(path: Path) -> Profile:
    try:
        return Profile.model_validate(_table(path, ()))
    except ValidationError as error:
        raise TargetError(
            f"{path} is not a target profile.",
            evidence=[_complaint(dict(each)) for each in error.errors(include_url=False, include_input=False)],
            remedy="see targets/README.md for the keys of a profile",
        ) from error


def _complaint(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {text}" if place else text


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _table(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    """The file's keys over those of what it extends. `below` are the files that led here."""
    if path.resolve() in below or len(below) > _MOST_EXTENDED:
        raise TargetError(
            f"{path} extends itself." if path.resolve() in below else f"{path} is extended through too many profiles.",
            evidence=" extends ".join(str(each) for each in (*below, path.resolve())),
            remedy="let one of them stand by itself",
        )
    try:
        content = read_bytes(path, TEXT_LIMIT)
    except (OSError, Refused) as error:
        raise TargetError(
            f"{path} cannot be read as a target profile.", evidence=str(error), remedy="check the path given as --target"
        ) from error
    try:
        table = parse_toml(content)
    except Refused as error:
        raise TargetError(f"{path} is not TOML.", evidence=f"it {error}", remedy="correct it, or give another file") from error
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise TargetError(f"{path}: extends must be the name or the path of one profile.", evidence=f"it is {base!r}")
    base_path = given(path.parent / base, f"The profile that {path} extends") if base.endswith(".toml") else _path_of(base)
    return _over(_table(base_path, (*below, path.resolve())), table)


def _over(base: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """`table` laid over `base`: tables are merged, promises are added, anything else is replaced. A rank is not inherited: the
    heir is a profile of its own, to be asked for by name."""
    merged = {key: value for key, value in base.items() if key != "rank"}
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = {**merged[key], **value}
        elif key == "promises" and isinstance(value, list) and isinstance(merged.get(key), list):
            merged[key] = [*merged[key], *value]
        else:
            merged[key] = value
    return merged
