"""The backends that are installed, by family: edgec's own and those that other packages register as `edgec.backends`."""

from __future__ import annotations

from functools import cache

from edgec.backends.base import Backend
from edgec.plugins import load_all, unknown

GROUP = "edgec.backends"


@cache
def all_backends() -> dict[str, Backend]:
    """Every backend by its family's name."""
    return load_all(GROUP)


def get(family: str) -> Backend:
    """The backend of that family. Raises `TargetError` if no such family is registered."""
    known = all_backends()
    if family not in known:
        raise unknown("family of targets", family, known)
    return known[family]
