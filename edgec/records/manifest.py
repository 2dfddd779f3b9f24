"""manifest.json: what an artefact is, what went into it, and what it must compute.

It holds no timings and no dates: two builds of the same inputs write the same bytes. Timings live in report.json, which holds
this file's hash and those of the pictures beside it. Both are sealed (`edgec.onboard.seal`).

| version | what is new |
| --- | --- |
| 1 | |
| 2 | the `seal` of the file, `execution`, and `variants` |
| 3 | `runtime` and `settings` of variants |
| 4 | variants that only the target can run, without `expected`; `recordings` of sets of frames |
| 5 | `recipe` |
| 6 | `open_with`, the first line; `elsewhere` |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from edgec.onboard import seal
from edgec.records.base import Record, only_version
from edgec.records.fidelity import HeadFacts, Output, StageFidelity

SCHEMA_VERSION: Final = 6
MANIFEST = "manifest.json"


class LicenceFacts(Record):
    """The licence of the weights: its name, its SPDX identifier, and how edgec came to it."""

    name: str
    spdx: str
    reason: str


class CheckpointFacts(Record):
    """What was compiled. `sha256` is of the weights; `mean` and `std` normalise RGB in [0, 1]; `findings` are what `edgec
    inspect` warns of."""

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


class RecordingFacts(Record):
    """A camera's topic in a robot's log: the log's hash, how many of its messages can be read, how many frames were used, and
    when the first and the last of those were recorded, in ns since 1970."""

    name: str
    sha256: str
    topic: str
    messages: int
    frames: int
    first_ns: int
    last_ns: int


class FrameSetFacts(Record):
    """A set of frames that calibrated or judged: how many were used, which ones were left out, and which robots' logs they are
    from."""

    name: str
    sha256: str
    frames: int
    skipped: tuple[str, ...] = ()
    recordings: tuple[RecordingFacts, ...] = ()


class Tensor(Record):
    """An input or output of the model, as its runtime names it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    meaning: str = ""
    role: Literal["features"] | Output = "features"
    """What an output is, by which a re-run is compared with what was recorded: `edgec.verifying`."""


class Golden(Record):
    """The golden frames, and how far a re-run may be from what was recorded.

    `relative_tolerance` bounds the largest absolute difference to the shipped features, as a share of their largest absolute
    value, per output. `min_cosine` bounds the cosine of every feature vector to the shipped one. Both may be stricter than what
    edgec allows of a precision (`edgec.artefact.bounds`), never looser.
    """

    frames: str
    expected_float32: str
    expected_shipped: str
    count: int = Field(ge=1)
    relative_tolerance: float = Field(gt=0)
    min_cosine: float = Field(gt=0, le=1)

    @property
    def paths(self) -> tuple[str, ...]:
        """Of its three files, in the artefact."""
        return (self.frames, self.expected_float32, self.expected_shipped)


class SizeFacts(Record):
    """One of several sizes of frames that a model takes: the function of the model's file that takes them, and its golden
    frames."""

    function: str
    input: Tensor
    outputs: tuple[Tensor, ...]
    golden: Golden


class Execution(Record):
    """Where the golden frames were run, and how."""

    machine: str = Field(pattern="^[0-9a-f]{64}$")
    """`edgec.artefact.machine.fingerprint`."""
    version: str
    """Of the runtime."""
    threads: int = Field(ge=1)


class VariantFacts(Record):
    """A graph that a board may choose instead of the entry, and what it made of the golden frames here."""

    precision: str
    entry: str
    expected: str
    """As `Golden.expected_shipped`; empty if only the target can run it."""
    runtime: str = ""
    """Empty for the manifest's."""
    settings: dict[str, Any] = Field(default={})
    """As the manifest's."""


class RecipeFacts(Record):
    """The recipe that the build was asked for by (edgec.toml). `settings` are the file's keys about the build, as written there;
    `overridden` those of them that the command line gave otherwise."""

    name: str
    settings: dict[str, Any]
    overridden: tuple[str, ...] = ()


class FileFacts(Record):
    """A file of the artefact, by its path there."""

    path: str
    sha256: str
    size_bytes: int = Field(ge=0)


class Manifest(Record):
    """The contents of manifest.json. `input`, `outputs` and `golden` are those of the default size."""

    limit_bytes: ClassVar[int] = 4 << 20
    sealed_since: ClassVar[int | None] = 2

    open_with: str = ""
    """What whoever opens the entry without edgec must tell the runtime, so that it computes what was verified; empty: nothing."""
    schema_version: Literal[6] = SCHEMA_VERSION
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
    execution: Execution | None = None
    """None in manifests of version 1."""
    entry: str
    """The file in the artefact that the runtime opens."""
    settings: dict[str, Any] = Field(default_factory=dict)
    input: Tensor
    outputs: tuple[Tensor, ...]
    operations: dict[str, str]
    """Precision of every operation that has a choice, by its name in the hub graph."""
    fidelity: tuple[StageFidelity, ...]
    elsewhere: tuple[StageFidelity, ...] = ()
    """Of what ships, on frames of other places and on the camera's ills, one for each: `stage` is its name. Empty where it was
    not measured."""
    golden: Golden
    heads: tuple[HeadFacts, ...] = ()
    sizes: tuple[SizeFacts, ...] = ()
    """All sizes where there are several. The first is the default, which `input`, `outputs` and `golden` describe."""
    variants: tuple[VariantFacts, ...] = ()
    recipe: RecipeFacts | None = None
    """None for a build without one."""
    tools: dict[str, str]
    files: tuple[FileFacts, ...]
    """Everything in the directory but manifest.json itself and the report, whose timings differ from run to run. The report lists
    its own files, and the hash of this one."""

    @property
    def all_sizes(self) -> tuple[SizeFacts, ...]:
        """One at least; that of a model without functions has no name for it."""
        return self.sizes or (SizeFacts(function="", input=self.input, outputs=self.outputs, golden=self.golden),)

    def to_json(self) -> str:
        """As the file has it: sealed, without the fields for settings, heads, sizes, variants, a recipe or fidelity elsewhere
        that are empty."""
        data = self.model_dump(mode="json")
        for name in ("open_with", "heads", "sizes", "variants", "recipe", "elsewhere"):
            if not data[name]:
                del data[name]
        for frames in (data["calibration"], data["validation"]):
            if frames and not frames["recordings"]:
                del frames["recordings"]
        for stage in (*data["fidelity"], *data.get("elsewhere", ())):
            if not stage["tasks"]:
                del stage["tasks"]
        for part in (data, *data.get("sizes", ())):
            for tensor in (part["input"], *part["outputs"]):
                if tensor["role"] == "features":
                    del tensor["role"]
        return seal.sealed(json.dumps(data, indent=1, ensure_ascii=False))


UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    version: only_version(version + 1) for version in range(1, SCHEMA_VERSION)
}
"""By version: from what it wrote, not yet checked, to the next version."""
