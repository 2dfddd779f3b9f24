"""The backends that are installed, by family: edgec's own and those that others register as `edgec.backends` entry points."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from edgec.backends.base import Backend
from edgec.errors import TargetError

GROUP = "edgec.backends"


@cache
def all_backends() -> dict[str, Backend]:
    """Every backend by its family's name. One that cannot be loaded is left out, whatever its reason: it must not harm the
    others."""
    loaded: dict[str, Backend] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            loaded[point.name] = point.load()()
        except Exception:  # noqa: S112 - somebody else's module
            continue
    return loaded


def get(family: str) -> Backend:
    """Raises `TargetError` if no such family is registered."""
    known = all_backends()
    if family not in known:
        raise TargetError(
            f"There is no family of targets named {family!r}.",
            evidence=f"registered: {', '.join(known) or 'none'}",
            remedy="install the package that provides it, or choose another target",
        )
    return known[family]
