"""What every record that is read from a file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen, closed, and without NaN: a report that says something else is refused, not guessed at."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
