"""manifest.json: what an artefact is, what went into it, and what it must compute.

It holds no timings and no dates: two builds of the same inputs write the same bytes. Timings live in report.json.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import Field

from edgec.report.base import Record
from edgec.report.fidelity import HeadFacts, Output, StageFidelity

SCHEMA_VERSION: Final = 1
MANIFEST = "manifest.json"


class LicenceFacts(Record):
    name: str
    spdx: str
    reason: str


class CheckpointFacts(Record):
    name: str
    form: str
    arch: str
    """The family's name, or the dimensions of a model of its own."""
    sha256: str
    random_weights: bool
    normalisation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: LicenceFacts
    findings: tuple[str, ...] = ()


class FrameSetFacts(Record):
    name: str
    sha256: str
    frames: int
    skipped: tuple[str, ...] = ()


class Tensor(Record):
    name: str
    dtype: str
    shape: tuple[int, ...]
    meaning: str = ""
    role: Literal["features"] | Output = "features"
    """What an output is, by which a re-run is compared with what was recorded: `edgec.artefact.verify`."""


class Golden(Record):
    """The golden frames, and how far a re-run may be from what was recorded.

    `relative_tolerance` bounds the largest absolute difference to the shipped features, as a share of their largest absolute
    value, per output. `min_cosine` bounds the cosine of every feature vector to the shipped one.
    """

    frames: str
    expected_float32: str
    expected_shipped: str
    count: int = Field(ge=1)
    relative_tolerance: float = Field(gt=0)
    min_cosine: float = Field(gt=0, le=1)

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.frames, self.expected_float32, self.expected_shipped)


class SizeFacts(Record):
    """One of several sizes of frames that a model takes: the function of the model's file that takes them, and its golden
    frames."""

    function: str
    input: Tensor
    outputs: tuple[Tensor, ...]
    golden: Golden


class FileFacts(Record):
    path: str
    sha256: str
    size_bytes: int = Field(ge=0)


class Manifest(Record):
    schema_version: Literal[1] = SCHEMA_VERSION
    edgec_version: str
    build_key: str
    """SHA-256 over every input and setting of the build: the same key, the same artefact."""
    checkpoint: CheckpointFacts
    calibration: FrameSetFacts | None
    validation: FrameSetFacts
    target: str
    runtime: str
    precision: str
    execution_precision: str
    entry: str
    """The file in the artefact that the runtime opens."""
    settings: dict[str, Any] = Field(default_factory=dict)
    input: Tensor
    outputs: tuple[Tensor, ...]
    operations: dict[str, str]
    """Precision of every operation that has a choice, by its name in the hub graph."""
    fidelity: tuple[StageFidelity, ...]
    golden: Golden
    heads: tuple[HeadFacts, ...] = ()
    sizes: tuple[SizeFacts, ...] = ()
    """All sizes where there are several, the default first, of which `input`, `outputs` and `golden` speak."""
    tools: dict[str, str]
    files: tuple[FileFacts, ...]
    """Everything in the directory but manifest.json itself and the report, whose timings differ from run to run."""

    @property
    def all_sizes(self) -> tuple[SizeFacts, ...]:
        """One at least; that of a model without functions has no name for it."""
        return self.sizes or (SizeFacts(function="", input=self.input, outputs=self.outputs, golden=self.golden),)

    def to_json(self) -> str:
        """As the file has it: without what speaks of heads or sizes where there are none, so that readers which do not know of
        them read on."""
        found = self.model_dump(mode="json")
        for name in ("heads", "sizes"):
            if not found[name]:
                del found[name]
        for stage in found["fidelity"]:
            if not stage["tasks"]:
                del stage["tasks"]
        for part in (found, *found.get("sizes", ())):
            for tensor in (part["input"], *part["outputs"]):
                if tensor["role"] == "features":
                    del tensor["role"]
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
