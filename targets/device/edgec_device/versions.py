"""Versions as numbers, and the ranges that a bundle gives."""

from __future__ import annotations

from typing import Mapping, Tuple

Version = Tuple[int, ...]


def parse(text: str) -> Version:
    """`10.3.0` as (10, 3, 0). Raises `ValueError`."""
    return tuple(int(part) for part in text.split("."))


def dotted(version: Version) -> str:
    """(10, 3, 0) as `10.3.0`."""
    return ".".join(str(part) for part in version)


def within(version: Version, limits: Mapping[str, str]) -> bool:
    """Whether it is at least `min` and below `below`."""
    return parse(limits["min"]) <= version < parse(limits["below"])


def described(limits: Mapping[str, str]) -> str:
    """A range in words."""
    return "{} or newer, below {}".format(limits["min"], limits["below"])


def from_banner(digits: str) -> Version:
    """The version in NV_TENSORRT_VERSION: major, minor and patch in one number. Since 10, minor and patch have two digits each;
    before, minor has one and patch two (`v8601`, `v100300`; NVIDIA/TensorRT, samples/common/logging.h prints it)."""
    value = int(digits)
    if value >= 100000:
        return value // 10000, value // 100 % 100, value % 100
    return value // 1000, value // 100 % 10, value % 100
