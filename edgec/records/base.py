"""What every record that is read from a file has in common."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen, closed, and without NaN: a report that says something else is refused, not guessed at."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    limit_bytes: ClassVar[int] = 64 << 20
    """A larger file is none of these."""
    sealed_since: ClassVar[int | None] = None
    """The first schema version whose files are sealed (`edgec.onboard.seal`)."""
