"""What NVIDIA's tools have in common: an engine is a plan, for one version of TensorRT and one GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

from edgec_device.bundle import BoardProfile, Variant
from edgec_device.versions import Version, described, dotted, parse

PLAN = "engine.plan"
_PLANS = (b"ftrt", b"vtrt")
"""What serialised engines begin with: TensorRT's (NVIDIA/TensorRT, samples/common/sampleEngines.cpp, printPlanVersion), and
TensorRT-RTX's (seen in engines of 1.7.1)."""
_HEAD = 4096


@dataclass(frozen=True)
class Gpu:
    """The GPU that a tool uses."""

    name: str
    compute_capability: str


class NvidiaTool:
    """The part of `edgec_device.tool.Tool` that is the same for every tool of NVIDIA's."""

    name: str
    runtime: str
    """TensorRT, or TensorRT-RTX."""
    path: Path
    version: Version
    gpu: Gpu
    doubts: Sequence[str]

    observed: Mapping[str, Any] = {}

    def takes(self, limits: Mapping[str, str]) -> bool:
        """Whether its TensorRT is at least `min` and below `below`."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """With its version."""
        return f"{self.runtime} {dotted(self.version)}"

    @property
    def processor(self) -> str:
        """The GPU."""
        return self.gpu.name

    @property
    def facts(self) -> Mapping[str, str]:
        """As older measurements name them."""
        return {
            "tensorrt": dotted(self.version),
            self.name: str(self.path),
            "gpu": self.gpu.name,
            "compute_capability": self.gpu.compute_capability,
        }

    @property
    def versions(self) -> Mapping[str, str]:
        """TensorRT's. TensorRT-RTX has numbers of its own, and says so."""
        flavour = self.runtime.replace("TensorRT", "").strip("-")
        return {"tensorrt": f"{flavour} {dotted(self.version)}".strip()}

    def refuses(self, variant: Variant, profile: BoardProfile) -> str:
        """By the ranges of the board and of the graph, and by the types that the GPU has."""
        for limits in (profile.tensorrt, variant.tensorrt):
            if not self.takes(limits):
                return f"TensorRT {described(limits)}"
        least = variant.compute_capability or "0"
        if parse(self.gpu.compute_capability) < parse(least):
            return f"a GPU of compute capability {least} or newer"
        return ""

    def identity(self, variant: Variant) -> Mapping[str, str]:
        """An engine is for one version and one GPU."""
        facts = self.facts
        return {name: facts[name] for name in ("tensorrt", "gpu", "compute_capability")}

    def describe(self, variant: Variant, flags: Sequence[str]) -> tuple[str, str]:
        """Whether TensorRT may change the graph's types."""
        typed = "weakly" if "--fp16" in flags or "--int8" in flags else "strongly"
        return "tensorrt", f"{typed} typed, {self.title}"

    def files(self, variant: Variant, folder: Path) -> Sequence[str]:
        """One plan."""
        return (PLAN,)

    def engine_doubts(self, engine: Path) -> list[str]:
        """By how it begins."""
        with engine.open("rb") as file:
            head = file.read(_HEAD)
        if not head.startswith(_PLANS):
            return [f"{engine.name} does not begin like a TensorRT engine"]
        return [f"{engine.name} was made by a stand-in"] if b"stand-in" in head else []
