"""What is stated about a checkpoint in its folder and in its container: each statement is obeyed, or refused with a reason."""

from __future__ import annotations

from edgec.checkpoint.statements.gathering import Origin, gather
from edgec.checkpoint.statements.types import Conflict, Statement, Statements

__all__ = ["Conflict", "Origin", "Statement", "Statements", "gather"]
