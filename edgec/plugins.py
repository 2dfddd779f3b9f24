"""What packages register with edgec as entry points: lowerings and backends, including edgec's own."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from edgec.errors import TargetError


def load_all(group: str) -> dict[str, Any]:
    """An object of each class that is registered in the group, by name. One that cannot be loaded is left out, whatever the
    reason: it must not keep the others from working."""
    loaded = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            loaded[point.name] = point.load()()
        except Exception:  # noqa: S112 - a module of another package
            continue
    return loaded


def unknown(what: str, name: str, known: dict[str, Any]) -> TargetError:
    """The error for a name that is not registered. `what` says what kind of thing it would be, such as "lowering"."""
    return TargetError(
        f"There is no {what} named {name!r}.",
        evidence=f"registered: {', '.join(known) or 'none'}",
        remedy="install the package that provides it, or choose another target",
    )
