"""The report's schema: what every build, board and benchmark writes, and what people compare.

Times are milliseconds, sizes are bytes. `SCHEMA_VERSION` grows with every field, because a closed schema refuses those that it
does not know; `UPGRADES` reads what older versions wrote. `edgec schema` prints the JSON Schema.

| version | what is new |
| --- | --- |
| 1 | |
| 2 | `Report.artefact_sha256`; `blocks` and `other_cores` of `Latency` |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgec.evidence import Evidence

SCHEMA_VERSION: Final = 2
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class Record(BaseModel):
    """Frozen, closed, and without NaN: a report that says something else is refused, not guessed at."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StageFidelity(Record):
    """Cosines between one stage's features and those of the float32 PyTorch model, on frames that calibration never saw.

    `patch_cosine_p01` is the first percentile over all patches of all frames. `registers_cosine_mean` is reported, never gated.
    """

    stage: str
    cls_cosine_mean: float = Field(ge=-1.0001, le=1.0001)
    patch_cosine_mean: float = Field(ge=-1.0001, le=1.0001)
    patch_cosine_p01: float = Field(ge=-1.0001, le=1.0001)
    frames: int = Field(ge=1)
    evidence: Evidence


class Block(Record):
    """Runs one after another. Blocks of one `round`, whosever they are in the report, ran in turn: what disturbed one of them
    disturbed the others alike."""

    round: int = Field(ge=0)
    runs: int = Field(ge=1)


class Latency(Record):
    """One frame batch in, features out, over `iterations` runs after `warmup` unrecorded ones. Nothing is clipped."""

    min_ms: float = Field(ge=0)
    p50_ms: float = Field(ge=0)
    p90_ms: float = Field(ge=0)
    p99_ms: float = Field(ge=0)
    max_ms: float = Field(ge=0)
    mean_ms: float = Field(ge=0)
    iterations: int = Field(ge=1)
    warmup: int = Field(ge=0)
    threads: int = Field(ge=1)
    samples_ms: tuple[float, ...] = ()
    """Every sample, in the order taken, so that reports can be compared properly."""
    blocks: tuple[Block, ...] = ()
    """How the samples were taken, in their order, where candidates took turns."""
    other_cores: float | None = Field(default=None, ge=0)
    """How many cores' worth of other work the machine did meanwhile, a hypervisor's share included."""
    evidence: Evidence
    flags: tuple[str, ...] = ()
    """What the tool that measured was told, where it takes flags."""
    power_mode: str | None = None
    gpu_clock_fixed: bool | None = None
    temperatures_c: dict[str, tuple[float, float]] = {}
    """By zone: before and after."""
    power_mw: dict[str, tuple[float, float]] = {}
    """By rail: mean and largest."""
    throttled: tuple[str, ...] = ()
    """What held the clocks down meanwhile, in the board's words."""


class ColdStart(Record):
    """What a fresh process pays, measured in a process of the candidate's own that imports only numpy and the runtime."""

    load_ms: float = Field(ge=0)
    """From the files on disk to a model ready to run; the runtime's own import excluded."""
    first_inference_ms: float = Field(ge=0)
    peak_rss_bytes: int = Field(ge=0)
    """The process's high-water mark at the end of the measurement, interpreter and runtime included."""
    evidence: Evidence


class Bound(Record):
    """The least time that a board could take for a batch, from data sheets: no latency to expect."""

    board: str
    power_mode: str
    bound_ms: float = Field(ge=0)
    limited_by: Literal["compute", "memory"]
    evidence: Evidence = Evidence.ESTIMATED


class Candidate(Record):
    """One runtime at one precision. What could not be made or run says so in `problem` and has no figures."""

    name: str
    runtime: str
    precision: str
    execution_precision: str = ""
    """What the runtime says that it really computes in, e.g. OpenVINO's inference precision hint in force."""
    size_bytes: int | None = Field(default=None, ge=0)
    fidelity: StageFidelity | None = None
    latency: Latency | None = None
    bounds: tuple[Bound, ...] = ()
    cold_start: ColdStart | None = None
    problem: str = ""
    chosen: bool = False
    build_flags: tuple[str, ...] = ()


class Host(Record):
    """The machine that measured."""

    cpu: str
    architecture: str
    isa: tuple[str, ...] = ()
    """The flags that matter to inference, of those the CPU has: avx2, avx512_vnni, avx512_bf16, amx_int8, asimddp, i8mm, …"""
    physical_cores: int = Field(ge=1)
    logical_cores: int = Field(ge=1)
    usable_cores: int = Field(ge=1)
    """What the scheduler and the container let this process use."""
    memory_bytes: int = Field(ge=0)
    governor: str | None = None
    """None where the host does not tell."""
    virtual_machine: bool | None = None
    os: str
    python: str
    jetpack: str | None = None
    versions: dict[str, str] = {}
    """Runtimes and tools, by package name."""


class ModelFacts(Record):
    name: str
    arch: str
    checkpoint_sha256: str
    random_weights: bool
    """True: fidelity is against itself and says nothing about real features."""
    gflops: float = Field(ge=0)
    parameters: int = Field(ge=0)


class Report(Record):
    schema_version: Literal[2] = SCHEMA_VERSION
    edgec_version: str
    created: str
    """UTC, ISO 8601."""
    artefact_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Of the artefact's manifest.json, which holds the SHA-256 of every other file. None in a report that no build wrote."""
    model: ModelFacts
    target: str
    host_is_target: bool
    """Whether the measuring host has everything that the target's profile asks for."""
    input_shape: tuple[int, int, int, int]
    """uint8 NHWC."""
    precision_asked: str
    min_fidelity: float
    calibration: str
    validation_frames: int
    stages: tuple[StageFidelity, ...] = ()
    candidates: tuple[Candidate, ...]
    chosen: str
    reason: str
    notes: tuple[str, ...] = ()
    host: Host


UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    1: lambda found: {**found, "schema_version": 2},
}
"""By version: from what it wrote, not yet checked, to the next version."""


def json_schema() -> dict[str, Any]:
    """The newest version, for readers and writers in other languages. A schema cannot say that figures contradict each other:
    `edgec.report.reading` also checks that."""
    return {"$schema": DIALECT, "$id": f"urn:edgec:report:{SCHEMA_VERSION}", **Report.model_json_schema()}
