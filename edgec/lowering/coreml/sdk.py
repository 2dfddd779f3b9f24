"""The one place where coremltools is imported: quietly, and on use."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from edgec import extras
from edgec.lowering.base import Availability

SPECIFICATION = 9
"""Core ML's specification of iOS 18 and macOS 15: the first with attention as one operation, per-channel scales in blocks and
lookup tables for groups of channels."""


def availability() -> Availability:
    """Whether packages can be written here. Looks for coremltools without importing it, which takes seconds."""
    if not extras.installed("coremltools"):
        return Availability(False, problem="No module named 'coremltools'", install=extras.line_for("coremltools"))
    return Availability(True, version=f"coremltools {importlib.metadata.version('coremltools')}")


def sdk() -> Any:
    """The parts of coremltools that writing takes: `mb` (its builder), `types`, `Function`, `Program`, `target`, `specification`
    (from program to protobuf).

    Raises `MissingPackage` if it is not installed.
    """
    with extras.named("coremltools"), quiet():
        import coremltools as ct
        from coremltools.converters.mil.backend.mil.load import load as to_specification
        from coremltools.converters.mil.mil import Builder, Function, Program, types
    return SimpleNamespace(
        mb=Builder, types=types, Function=Function, Program=Program, target=ct.target.iOS18, specification=to_specification
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """While entered, coremltools logs errors only. On import it warns of what it cannot do on Linux, and of versions of other
    packages that it was not tested with."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
