"""The report's schema: what every build, board and benchmark writes, and what people compare.

Times are milliseconds, sizes are bytes. `SCHEMA_VERSION` grows with every field, because a closed schema refuses those that it
does not know; `UPGRADES` reads what older versions wrote. `edgec schema` prints the JSON Schema.

| version | what is new |
| --- | --- |
| 2 | `Report.artefact_sha256`; `blocks` and `other_cores` of `Latency` |
| 3 | `runs`, `after_idle`, `profile`, `placement`, `cpu_ms_per_frame` of candidates; `import_ms`, `process_ms` of `ColdStart` |
| 4 | `heads` and their budgets of `Report`; `tasks` of `StageFidelity`, whose cosines may be None; `process` of `Block` |
| 5 | the `seal` of the file, and `files` of `Report` |
| 6 | `compilations` of candidates; `estimate_ms` of `Bound` |
| 7 | `emulated_on` of `Host`; evidence `emulated on host` |
| 8 | `elsewhere` of candidates; `likely_ms` of bounds; `min_fidelity_elsewhere`, `repeated_frames`, `frame_findings` of reports |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from edgec.onboard import seal
from edgec.onboard.statistics import summary
from edgec.records.base import Record, only_version
from edgec.records.bounds import Bound as Bound
from edgec.records.compilation import Compilation
from edgec.records.evidence import Evidence
from edgec.records.fidelity import HeadFacts, StageFidelity

SCHEMA_VERSION: Final = 8
YARDSTICK: Final = "yardstick"
"""The name of an entry among the candidates that is no model: it shows how fast the machine was (`edgec.latency.yardstick`)."""
REPORT: Final = "report.json"
"""The file in an artefact's folder."""
SWEEP: Final = "sweep.json"
"""The file in a sweep's folder that says what became of its cells (`edgec.sweep.schema`): no report of one artefact."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class Block(Record):
    """Runs one after another. Blocks of one `round`, of all candidates in the report, ran in turn: what disturbed one of them
    disturbed the others too."""

    round: int = Field(ge=0)
    runs: int = Field(ge=1)
    process: int = Field(default=0, ge=0)
    """Which of the candidate's processes ran them: each has a level of its own."""


class Percentiles(Record):
    """What `edgec.onboard.statistics.summary` computes of samples, in milliseconds."""

    min_ms: float = Field(ge=0)
    p50_ms: float = Field(ge=0)
    p90_ms: float = Field(ge=0)
    p99_ms: float = Field(ge=0)
    max_ms: float = Field(ge=0)
    mean_ms: float = Field(ge=0)


class Conditions(Record):
    """How samples were taken, and what the board did meanwhile."""

    warmup: int = Field(ge=0)
    blocks: tuple[Block, ...] = ()
    """How the samples were taken, in their order, where candidates took turns."""
    evidence: Evidence
    flags: tuple[str, ...] = ()
    """The flags that the measuring tool was run with, where it takes any."""
    power_mode: str | None = None
    gpu_clock_fixed: bool | None = None
    temperatures_c: dict[str, tuple[float, float]] = Field(default={})
    """By zone: before and after."""
    power_mw: dict[str, tuple[float, float]] = Field(default={})
    """By rail: mean and largest."""
    throttled: tuple[str, ...] = ()
    """What held the clocks down meanwhile, in the board's words."""


class Latency(Conditions, Percentiles):
    """One frame batch in, features out, over `iterations` runs after `warmup` unrecorded ones. Nothing is clipped."""

    iterations: int = Field(ge=1)
    threads: int = Field(ge=1)
    samples_ms: tuple[float, ...] = ()
    """Every sample, in the order taken, so that reports can be compared properly."""
    other_cores: float | None = Field(default=None, ge=0)
    """How many cores' worth of other work the machine did meanwhile, a hypervisor's share included."""

    @classmethod
    def of(cls, samples_ms: Sequence[float], **facts: Any) -> Latency:
        """The latency of these samples, not empty; `facts` are the other fields."""
        return cls(**vars(summary(samples_ms)), iterations=len(samples_ms), samples_ms=tuple(samples_ms), **facts)


class ColdStart(Record):
    """What a fresh process pays, measured in a process of the candidate's own that imports only numpy and the runtime."""

    load_ms: float = Field(ge=0)
    """From the files on disk to a model ready to run; the runtime's own import excluded."""
    first_inference_ms: float = Field(ge=0)
    import_ms: float | None = Field(default=None, ge=0)
    """The runtime's own import."""
    process_ms: float | None = Field(default=None, ge=0)
    """From the start of the process to its first features: interpreter, imports, load and first inference."""
    peak_rss_bytes: int = Field(ge=0)
    """The process's high-water mark at the end of the measurement, interpreter and runtime included."""
    evidence: Evidence


class Spread(Percentiles):
    """Of `count` values. Percentiles are nearest-rank; nothing is clipped."""

    count: int = Field(ge=1)


class Reading(Record):
    """What the host's sensors showed `at_ms` after the run began; sensors that it does not have are absent."""

    at_ms: float = Field(ge=0)
    cpu_mhz: float | None = Field(default=None, ge=0)
    """Mean over the cores in use."""
    temperatures_c: dict[str, float] = Field(default={})
    """By zone."""
    power_mw: dict[str, float] = Field(default={})
    """By RAPL domain, the mean since the reading before; by rail of an INA, what it was at that moment."""
    rss_bytes: int | None = Field(default=None, ge=0)


class Drift(Record):
    """How the median at a run's end stands to that at its beginning, a tenth of the run each."""

    first_p50_ms: float = Field(gt=0)
    last_p50_ms: float = Field(gt=0)
    ratio: float = Field(gt=0)
    ratio_low: float = Field(gt=0)
    ratio_high: float = Field(gt=0)
    """Of a 95 % interval, from resampled blocks."""


class Run(Record):
    """One way of asking a model for features, for a while: back to back, or as a camera's frames arrive.

    The columns `arrived_ms`, `started_ms`, `done_ms` and `stream` have one value for each frame that was done, in the order of
    its end; times are since the run began. Back to back a frame arrives as it is started. Of frames that were dropped, only the
    number is known.
    """

    mode: Literal["back to back", "camera"]
    fps: float | None = Field(default=None, gt=0)
    """Of each stream's camera."""
    streams: int = Field(ge=1)
    threads: int = Field(ge=1)
    """Of each stream."""
    queue: Literal["latest", "all"] | None = None
    """What becomes of frames that arrive while the model works: the newest waits and older ones are dropped, or all wait."""
    seconds: float = Field(gt=0)
    """From the first arrival to the last features."""
    arrived: int = Field(ge=1)
    dropped: int = Field(default=0, ge=0)
    deadline_ms: float | None = Field(default=None, gt=0)
    """From a frame's arrival to its features."""
    missed: int | None = Field(default=None, ge=0)
    """Frames that were done after their deadline, and those that were dropped."""
    latency: Spread
    """From a frame's arrival to its features."""
    wait: Spread
    """From its arrival to the start of its inference."""
    service: Spread
    """Its inference alone."""
    interval: Spread | None = None
    """Between one frame's features and the next one's of that stream."""
    jitter_ms: float | None = Field(default=None, ge=0)
    """Standard deviation of these intervals."""
    throughput_fps: float = Field(gt=0)
    """Frames done a second, all streams together."""
    drift: Drift | None = None
    cpu_ms_per_frame: float | None = Field(default=None, ge=0)
    """All threads."""
    energy_mj_per_frame: float | None = Field(default=None, ge=0)
    """Of everything that the sensors cover, idle power included."""
    peak_rss_bytes: int | None = Field(default=None, ge=0)
    """All streams together."""
    other_cores: float | None = Field(default=None, ge=0)
    arrived_ms: tuple[float, ...] = ()
    started_ms: tuple[float, ...] = ()
    done_ms: tuple[float, ...] = ()
    stream: tuple[int, ...] = ()
    readings: tuple[Reading, ...] = ()
    evidence: Evidence


class AfterIdle(Record):
    """The first inference after the process slept for `idle_s`: what it costs a robot that looks only now and then."""

    idle_s: float = Field(gt=0)
    samples_ms: tuple[float, ...] = Field(min_length=1)
    evidence: Evidence


class OperationTime(Record):
    """One step of the runtime's program, by the name that the runtime gives it; where one step covers several operations of the
    hub graph (a fusion), `operations` names them."""

    name: str
    kind: str
    """What it does, in words that are the same for every runtime: "product", "attention", "norm", "activation", "quantise", …"""
    block: int | None = Field(default=None, ge=0)
    """Of the backbone, counted from 0; None before and behind the blocks."""
    operations: tuple[str, ...] = ()
    execution: str = ""
    """The type or kernel that the runtime says it used."""
    mean_ms: float = Field(ge=0)
    """For a batch, over the profiled runs."""
    gflops: float | None = Field(default=None, ge=0)
    """Work in a batch, where it is a product."""
    roofline_share: float | None = Field(default=None, ge=0)
    """The least time that the work could take at this machine's measured rate in that type, over `mean_ms`."""


class Profile(Record):
    """Where a frame's time goes. Measuring each step costs time itself: `whole_ms` against `plain_ms` says how much."""

    source: str
    """The facility of the runtime that measured."""
    iterations: int = Field(ge=1)
    whole_ms: float = Field(gt=0)
    """Median of a profiled run."""
    plain_ms: float | None = Field(default=None, gt=0)
    """Median of a run without profiling, in the same process, taken in turns."""
    rates_gflops: dict[str, float] = Field(default={})
    """Measured rates of matrix products by type, to which `roofline_share` refers."""
    steps: tuple[OperationTime, ...]
    """In the order in which they ran."""
    evidence: Evidence


class Fallen(Record):
    """An operation that runs on another device than the one that was asked for."""

    operation: str
    kind: str
    device: str


class Placement(Record):
    """Where a runtime that chooses among devices says that it runs operations, before it runs them."""

    source: str
    asked: str
    """The devices that it may use, in the runtime's words."""
    by_device: dict[str, int]
    fallen: tuple[Fallen, ...] = ()
    """Operations that are not on the device that was asked for."""
    evidence: Evidence


class CandidateFigures(Record):
    """One runtime at one precision. What could not be made or run says so in `problem` and has no figures."""

    name: str
    runtime: str
    precision: str
    execution_precision: str = ""
    """The type that the runtime says it computes in, e.g. OpenVINO's effective inference precision."""
    size_bytes: int | None = Field(default=None, ge=0)
    fidelity: StageFidelity | None = None
    elsewhere: tuple[StageFidelity, ...] = ()
    """On frames of other places and on the camera's ills, one for each: `stage` is its name. Empty where it was not measured."""
    latency: Latency | None = None
    bounds: tuple[Bound, ...] = ()
    compilations: tuple[Compilation, ...] = ()
    """What the vendor's compiler made of its graph on the machine that built it, one for each kind of GPU."""
    cold_start: ColdStart | None = None
    cpu_ms_per_frame: float | None = Field(default=None, ge=0)
    """CPU time of all threads over the runs of `latency`."""
    after_idle: AfterIdle | None = None
    runs: tuple[Run, ...] = ()
    profile: Profile | None = None
    placement: Placement | None = None
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
    """None where the host does not show it."""
    virtual_machine: bool | None = None
    emulated_on: str | None = None
    """The architecture of the CPU that imitates this one; None for a CPU that is what it says."""
    os: str
    python: str
    jetpack: str | None = None
    versions: dict[str, str] = Field(default={})
    """Runtimes and tools, by package name."""


class ModelFacts(Record):
    """Which model was measured."""

    name: str
    arch: str
    checkpoint_sha256: str
    random_weights: bool
    """True: fidelity is against itself and says nothing about real features."""
    gflops: float = Field(ge=0)
    """Of a frame, heads included."""
    parameters: int = Field(ge=0)


class FrameFinding(Record):
    """One thing that `edgec calibration lint` says of frames. `check` is its kind, for scripts."""

    level: Literal["error", "warning", "note"]
    check: str
    text: str


class Beside(Record):
    """A file that shows what the report says, and lies in its folder."""

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class Report(Record):
    """Every candidate of one build, board or benchmark run, and which one was chosen."""

    sealed_since: ClassVar[int | None] = 5

    schema_version: Literal[8] = SCHEMA_VERSION
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
    min_fidelity_elsewhere: float | None = Field(default=None, gt=0, le=1)
    """The bound for `elsewhere` of candidates; None where that was not measured."""
    min_agreement: float | None = Field(default=None, gt=0, le=1)
    """What heads had to keep (`edgec.fidelity.tasks.TaskBudgets`), as the next two."""
    min_iou: float | None = Field(default=None, gt=0, le=1)
    max_depth_error: float | None = Field(default=None, gt=0)
    heads: tuple[HeadFacts, ...] = ()
    calibration: str
    validation_frames: int
    repeated_frames: int | None = Field(default=None, ge=0)
    """How many of the validation frames nearly repeat a calibration frame: fidelity on these says little about other scenes. None
    where nobody looked."""
    frame_findings: tuple[FrameFinding, ...] = ()
    """What the linter says of the frames that the build used."""
    stages: tuple[StageFidelity, ...] = ()
    candidates: tuple[CandidateFigures, ...]
    chosen: str
    reason: str
    notes: tuple[str, ...] = ()
    host: Host
    files: tuple[Beside, ...] = ()
    """The files of an artefact's own report: report.md, and those in report/."""

    def to_json(self) -> str:
        """As the file has it: sealed."""
        return seal.sealed(self.model_dump_json(indent=1))


UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    version: only_version(version + 1) for version in range(1, SCHEMA_VERSION)
}
"""By version: from what it wrote, not yet checked, to the next version."""


def json_schema() -> dict[str, Any]:
    """The newest version, for readers and writers in other languages. A schema cannot say that figures contradict each other, or
    that the seal fits: `edgec.records.consistency` also checks that."""
    # Code that others generate from it has called this part so since version 1.
    published = json.dumps(Report.model_json_schema()).replace(CandidateFigures.__name__, "Candidate")
    return {"$schema": DIALECT, "$id": f"urn:edgec:report:{SCHEMA_VERSION}", **seal.described(json.loads(published))}
