"""Instructions of each candidate of a build for Arm, counted under emulation: what a workstation can know of a board's speed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.arm64.counting import AGREE, Count, count
from benchmarks.arm64.machine import A76, I8MM
from edgec.backends.candidate import Candidate
from edgec.cache import Cache
from edgec.model.spec import Size
from edgec.progress import Silent
from edgec.records.evidence import Evidence
from edgec.request import BuildRequest, resolve
from edgec.stages.base import Build
from edgec.stages.candidates import lower
from edgec.stages.preparing import choose_frames, export_hub
from edgec.stages.quantising import Plans, calibrate

CPUS = {"cpu-arm64-dotprod": A76, "cpu-arm64-i8mm": I8MM}
"""By profile, the CPU that stands for it."""


def run_counts(checkpoint: str, calibration: str | None, size: Size, targets: Sequence[str], toml: Path | None) -> None:
    """Print a table for each target, and write its lines for the profile to `toml`, if given."""
    console, lines = Console(), []
    for target in targets:
        candidates, arch = lowered(checkpoint, calibration, size, target)
        models = [candidate.model for candidate in candidates if candidate.model is not None]
        frames = np.random.default_rng(0).integers(0, 256, (1, size.height, size.width, 3), dtype=np.uint8)
        counts = dict(zip([each.name for each in candidates], count(models, frames, CPUS[target]), strict=True))
        console.print(table(counts, f"{arch} {size} as {CPUS[target]}, {Evidence.EMULATED.value}"))
        lines.append(f"# {target}\n{entry(counts, arch, size, CPUS[target])}")
    if toml is not None:
        toml.write_text("\n".join(lines))


def lowered(checkpoint: str, calibration: str | None, size: Size, target: str) -> tuple[list[Candidate], str]:
    """The candidates that a build for this target makes, those that have files, and the architecture."""
    resolved = resolve(BuildRequest(checkpoint, calibration=calibration, target=target, size=size))
    build = Build(resolved, Cache(), Silent())
    split, hub = choose_frames(build), export_hub(build)
    plans = Plans(build, hub, calibrate(build, hub, split))
    return [each for each in lower(build, hub, plans, {}) if each.model is not None], hub.model.arch


def table(counts: dict[str, Count], title: str) -> Table:
    """The fewest first."""
    made = Table("candidate", "million instructions a frame", "runs differ by", title=title, title_justify="left")
    for name, each in sorted(counts.items(), key=lambda item: item[1].millions):
        doubt = "" if each.differ <= AGREE else " (not reproducible)"
        made.add_row(name, f"{each.millions:,}", f"{each.differ:.2%}{doubt}")
    return made


def entry(counts: dict[str, Count], arch: str, size: Size | str, cpu: str) -> str:
    """As a profile has it (`edgec.backends.cpu.profile.Counts`), without counts that were not reproducible."""
    tools = ", ".join(
        f"{name} {version(package)}" for name, package in (("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"))
    )
    kept = sorted((each.millions, name) for name, each in counts.items() if each.differ <= AGREE)
    return "\n".join(
        [
            "[[counts]]",
            f'model = "{arch}"',
            f'size = "{size}"',
            f'cpu = "{cpu}"',
            f'evidence = "{Evidence.EMULATED.value}"',
            f'source = "python -m benchmarks counts, {date.today().isoformat()}: {tools}, one thread, qemu-user 10.0"',
            "[counts.million_instructions]",
            *(f'"{name}" = {millions}' for millions, name in kept),
            "",
        ]
    )
