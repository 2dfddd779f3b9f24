"""The family's small architectures at a square and at a camera's shape: lowered, saved, and run from what was saved, against the
hub graph. All eight at their whole depth and a camera's size, and built by the command line, take minutes: EDGEC_APPLE_FULL=1.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edgec.fidelity.metrics import compare, worst
from edgec.graph.peaks import observe_peaks
from edgec.graph.session import features_of, open_session
from edgec.lowering.coreml import CoreMl
from edgec.lowering.coreml.evaluator import load
from edgec.lowering.coreml.evaluator.compare import first_difference
from edgec.model.spec import FAMILY, Size, Spec, VitSpec
from edgec.precision.static import uniform
from edgec.records.evidence import Evidence
from tests.support.commands import edgec
from tests.support.frames import pictures
from tests.support.models import Exported

pytest.importorskip("coremltools")

NAMES = ("vitt16", "vits16", "vits16plus", "convnext_tiny")
FULL = "EDGEC_APPLE_FULL"
SIZES = (Size(224, 224), Size(480, 640) if os.environ.get(FULL) else Size(192, 256))
CASES = [pytest.param(name, size, id=f"{name}-{size}") for name in NAMES for size in SIZES]
WHOLE = {("vitt16", SIZES[0]), ("convnext_tiny", SIZES[0])}


def spec_of(name: str, size: Size) -> Spec:
    """At its whole depth where time allows; otherwise a block or two of each kind, at the widths, heads and size that it has."""
    spec = FAMILY[name]
    if os.environ.get(FULL) or (name, size) in WHOLE:
        return spec
    return replace(spec, depth=2) if isinstance(spec, VitSpec) else replace(spec, depths=(1, 1, 1, 1))


@pytest.mark.parametrize(("name", "size"), CASES)
def test_a_saved_package_computes_what_the_hub_graph_does(name: str, size: Size, tmp_path: Path) -> None:
    """In fp16, every operation and the features."""
    made = Exported(spec_of(name, size), size, 1, False, (), 0)
    hub, frames = made.graph, pictures(size, 1)
    plan = CoreMl().fitted(hub, uniform("fp16"), observe_peaks(hub, list(frames), 1))
    model = CoreMl().lower(hub, plan, tmp_path)
    program = load((tmp_path / model.entry).parent)
    assert first_difference(program, hub, frames) is None
    actual, expected = CoreMl().load(model)(frames), features_of(open_session(hub), frames)
    fidelity = compare(expected, actual, "fp16", Evidence.SIMULATED)
    assert worst(fidelity) > 0.999


@pytest.mark.skipif(not os.environ.get(FULL), reason=f"minutes of building: set {FULL}=1")
@pytest.mark.parametrize(("name", "size"), CASES)
def test_the_command_line_builds_and_verifies_it(name: str, size: Size, tmp_path: Path) -> None:
    options = ("--target", "apple", "--input-size", str(size), "--calibration", "random:8", "--effort", "quick")
    done = edgec("build", f"random:{name}", *options, "-o", "built.edgec", cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "built.edgec" / "report.json").read_text())
    assert {candidate["precision"] for candidate in report["candidates"]} == {"fp16", "w8", "int8"}
    verified = edgec("verify", "built.edgec", cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr
