"""Errors, and the exit codes that programs give them: the same as edgec's own."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Why a program ended."""

    OTHER = 1
    REQUEST = 2  # an option, a size or a path
    FRAMES = 4  # frames that cannot be used
    ARTEFACT = 8  # a file is missing, or is not the one that edgec wrote
    VERIFICATION = 9  # the model computes something else than was recorded
    RUNTIME = 10  # the runtime is missing, refuses the model, or fails on a frame


class Error(Exception):
    """What is wrong, on what evidence, and what to do."""

    def __init__(self, code: ExitCode, what: str, evidence: str = "", remedy: str = "") -> None:
        super().__init__(what + (f"\n  {evidence}" if evidence else "") + (f"\n  To do: {remedy}" if remedy else ""))
        self.code = code
        self.what = what
        self.evidence = evidence
