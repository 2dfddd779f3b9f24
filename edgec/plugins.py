"""What packages register with edgec as entry points: lowerings and backends, edgec's own among them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from edgec.errors import TargetError


def load_all(group: str) -> dict[str, Any]:
    """An object of each class that is registered in the group, by name. One that cannot be loaded is left out, whatever its
    reason: it must not harm the others."""
    loaded = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            loaded[point.name] = point.load()()
        except Exception:  # noqa: S112 - somebody else's module
            continue
    return loaded


def unknown(what: str, name: str, known: dict[str, Any]) -> TargetError:
    """The refusal of a name that nothing is registered under; `what` is what is registered, as in "lowering"."""
    return TargetError(
        f"There is no {what} named {name!r}.",
        evidence=f"registered: {', '.join(known) or 'none'}",
        remedy="install the package that provides it, or choose another target",
    )
