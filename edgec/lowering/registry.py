"""The lowerings that are installed, by name: edgec's own and those that others register as `edgec.lowerings` entry points."""

from __future__ import annotations

from functools import cache

from edgec.lowering.base import Lowering
from edgec.plugins import load_all, unknown

GROUP = "edgec.lowerings"


@cache
def all_lowerings() -> dict[str, Lowering]:
    """Every lowering by name."""
    return load_all(GROUP)


def get(name: str) -> Lowering:
    """The lowering of this name. Raises `TargetError` if there is none."""
    known = all_lowerings()
    if name not in known:
        raise unknown("lowering", name, known)
    return known[name]
