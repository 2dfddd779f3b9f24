"""Artefacts and model files that this host builds, and what an emulated Cortex-A76 and a core with i8mm make of them.

One process a CPU does all: to start Python and both runtimes under emulation takes longer than all that they compute.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.arm64.debian import Unavailable
from benchmarks.arm64.machine import Machine, machine, run_emulated
from edgec.building import build
from edgec.graph.plan import PrecisionPlan
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel
from edgec.precision.static import int8_activations, uniform
from edgec.request import BuildRequest
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures, pictures
from tests.support.models import SMALL, VIT, exported
from tests.support.plans import observed_ranges, plain_int8

PROBE = Path(__file__).with_name("probe.py")
ARTEFACTS = {"onnxruntime": "int8", "openvino": "fp32"}
Features = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Emulated:
    """`answer` is `probe.py`'s, `features` those of each model's outputs as `NAME/OUTPUT`."""

    answer: dict[str, Any]
    features: Features


def static_plan(activations: str) -> PrecisionPlan:
    made = exported(VIT)
    ranges = observed_ranges(made.graph, int8_activations(made.graph), pictures(SMALL, 8), 1)
    return plain_int8(made.graph, ranges, kinds=("linear",), rest="fp32", activations=activations)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def arm64() -> Machine:
    """Skips, once and before anything is built, where nothing can be emulated."""
    try:
        return machine()
    except Unavailable as problem:
        pytest.skip(f"no emulated arm64: {problem}")


@pytest.fixture(scope="session")
def artefacts(arm64: Machine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By runtime: built here, for a Raspberry Pi 5."""
    folder = tmp_path_factory.mktemp("arm64")
    checkpoint, frames = save_checkpoint(folder / "checkpoint"), folder / "frames"
    draw_pictures(frames)
    built = {}
    for runtime, precision in ARTEFACTS.items():
        profile = folder / f"{runtime}.toml"
        others = "\n".join(f"{name} = []" for name in ("fp32", "fp16", "int8") if name != precision)
        profile.write_text(
            f'extends = "cpu-raspberry-pi-5"\nname = "{runtime}"\n[precisions]\n{precision} = ["{runtime}"]\n{others}\n'
        )
        request = BuildRequest(
            str(checkpoint), target=str(profile), calibration=str(frames), size=SMALL, iterations=3, min_fidelity=0.9,
            precision=precision, output=folder / f"{runtime}.edgec",
        )  # fmt: skip
        built[runtime] = build(request).directory
    return built


@pytest.fixture(scope="session")
def models(arm64: Machine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoweredModel]:
    """A ViT of two blocks in each form that arm64 is offered."""
    made, lowered = exported(VIT), {}
    plans = {
        "onnxruntime-fp32": uniform("fp32"),
        "openvino-fp32": uniform("fp32"),
        "onnxruntime-s8s8": static_plan("s8"),
        "onnxruntime-u8s8": static_plan("u8"),
        "onnxruntime-tokens": PrecisionPlan(
            "tokens", "fp32", operations=dict.fromkeys(static_plan("s8").operations, "int8-per-token")
        ),
    }
    for name, plan in plans.items():
        lowering = registry.get(name.partition("-")[0])
        lowered[name] = lowering.lower(made.graph, plan, tmp_path_factory.mktemp(name))
    return lowered


@pytest.fixture(scope="session")
def here(models: dict[str, LoweredModel]) -> Features:
    """Each model's features as this host computes them."""
    frames = exported(VIT).frames
    return {
        f"{name}/{output}": value
        for name, model in models.items()
        for output, value in registry.get(model.runtime).load(model, threads=1)(frames).items()
    }


@pytest.fixture(scope="session")
def emulated(
    artefacts: dict[str, Path], models: dict[str, LoweredModel], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Emulated]:
    """As the CPU of this name in qemu."""

    @cache
    def run(cpu: str) -> Emulated:
        folder = tmp_path_factory.mktemp("emulated")
        np.save(folder / "frames.npy", exported(VIT).frames)
        request = {
            "artefacts": [str(path) for path in artefacts.values()],
            "models": {name: model.to_json() for name, model in models.items()},
            "frames": str(folder / "frames.npy"),
            "features": str(folder / "features.npz"),
        }
        (folder / "request.json").write_text(json.dumps(request))
        done = run_emulated([PROBE, folder / "request.json", folder / "answer.json"], cpu, timeout=600)
        assert done.returncode == 0, done.stderr
        with np.load(folder / "features.npz") as features:
            return Emulated(json.loads((folder / "answer.json").read_text()), dict(features))

    return run
