"""What every record that is read from a file has in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen, closed (unknown fields are refused), and without NaN or infinity: nothing is guessed at."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    limit_bytes: ClassVar[int] = 64 << 20
    """A larger file is refused."""
    sealed_since: ClassVar[int | None] = None
    """The first schema version whose files are sealed (`edgec.onboard.seal`)."""


def only_version(version: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An upgrade to `version` that changes nothing else: every field that is new there has a default."""
    return lambda document: {**document, "schema_version": version}
