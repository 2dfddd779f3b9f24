"""The lowerings that are installed, by name: edgec's own and those that others register as `edgec.lowerings` entry points."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from edgec.errors import TargetError
from edgec.lowering.base import Lowering

GROUP = "edgec.lowerings"


@cache
def all_lowerings() -> dict[str, Lowering]:
    """Every lowering by name. One that cannot be loaded is left out, whatever its reason: it must not harm the others."""
    found: dict[str, Lowering] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found[point.name] = point.load()()
        except Exception:  # noqa: S112 - somebody else's module
            continue
    return found


def get(name: str) -> Lowering:
    """Raises `TargetError` if no such lowering is registered."""
    known = all_lowerings()
    if name not in known:
        raise TargetError(
            f"There is no lowering named {name!r}.",
            evidence=f"registered: {', '.join(known) or 'none'}",
            remedy="install the package that provides it, or choose another target",
        )
    return known[name]
