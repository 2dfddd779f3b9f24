"""Caches that have a graph already: for processes of which something else is tested than that they export."""

from __future__ import annotations

from pathlib import Path

from edgec.cache import Cache
from edgec.progress import Silent
from edgec.request import BuildRequest, resolve


def export_into(cache: Path, request: BuildRequest) -> None:
    """Fills `cache` with the stages of that build in which PyTorch takes part: the hub graph, the float32 features that it is
    compared with, and that comparison."""
    from edgec.stages.base import Build
    from edgec.stages.preparing import choose_frames, compute_references, export_hub, verify_export

    build = Build(resolve(request), Cache(cache), Silent())
    split, hub = choose_frames(build), export_hub(build)
    verify_export(build, hub, compute_references(build, hub, split))
