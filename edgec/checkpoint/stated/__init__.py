"""What a checkpoint says of itself beside its weights, in its folder and in its container: obeyed, or refused by name."""

from __future__ import annotations

from edgec.checkpoint.stated.gather import Origin, gather
from edgec.checkpoint.stated.types import Conflict, Statement, Statements

__all__ = ["Conflict", "Origin", "Statement", "Statements", "gather"]
