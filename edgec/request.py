"""What a user requests of a build, and what that means on this machine before any work: settings, hashes, the build's key.

Nothing here imports torch or a runtime, so that a repeated build is over in a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypedDict

import edgec
from edgec import cache as cached
from edgec import checkpoint, frames
from edgec.backends import profiles as targets
from edgec.backends import registry as backends
from edgec.backends.base import Backend
from edgec.backends.offering import PrecisionChoice, offered_pairs
from edgec.backends.profile import Profile
from edgec.checkpoint import Identity
from edgec.checkpoint.location.source import DEMO
from edgec.dependencies import everything, imported
from edgec.errors import CalibrationError, RequestError, TargetError
from edgec.fidelity.budget import DEFAULTS, Budget
from edgec.fidelity.tasks import TaskBudgets
from edgec.frames import FrameSet, Reading
from edgec.graph.plan import Precision
from edgec.heads.reading import identify_heads
from edgec.host import facts as host
from edgec.lowering import registry
from edgec.lowering.base import Lowering
from edgec.lowering.sizes import ManySizes
from edgec.model.spec import Size
from edgec.paths import usable_path
from edgec.records.report import Host
from edgec.untrusted import printable

Effort = Literal["quick", "full"]
"""How long to look for a precision plan: `quick` follows rules, `full` also measures what each operation's int8 costs."""
DEFAULT_SIZE = Size(224, 224)
TOOLS = ("coremltools", "numpy", "onnx", "onnxruntime", "onnxscript", "openvino", "torch")
"""Packages whose versions manifests name. `edgec.dependencies` finds what a stage really depends on."""


@dataclass(frozen=True)
class RecipeUse:
    """The recipe that a request is from (`edgec.recipes`): its file's name, what it says of the build as JSON, and which of that
    the command line gave otherwise."""

    name: str
    settings: str
    overridden: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildRequest:
    """The request as the user wrote it. Without `output`, the name is made from checkpoint, target and size, in the current
    folder."""

    checkpoint: str
    weights: str | None = None
    """Which of several sets of weights in the checkpoint: a name such as "student" or "ema", which the error message lists."""
    config: str | None = None
    """The only file to read for what weights do not say, or "none" to read none."""
    against: bool = False
    """Whether to run the author's own code, which the checkpoint's folder names, and compare with it."""
    target: str = "cpu"
    calibration: str | None = None
    validation: str | None = None
    reading: Reading = field(default_factory=Reading)
    """What bags and raw dumps among the frames do not say themselves."""
    size: Size = DEFAULT_SIZE
    more_sizes: tuple[Size, ...] = ()
    """Further sizes of frames that the artefact takes, if its runtime's files can hold several; `size` is the default."""
    batch: int = 1
    precision: PrecisionChoice = "auto"
    candidate: str | None = None
    """The one that ships, by its name in the report. Otherwise the backend chooses, on a CPU by measuring."""
    min_fidelity: float = 0.99
    min_fidelity_elsewhere: float | None = None
    """None for `min_fidelity`."""
    foreign: str | None = None
    """Frames of places that are not the calibration's, to judge by; None for edgec's demo pictures, as far as they are not."""
    heads: tuple[str, ...] = ()
    """Each as NAME=PATH."""
    features: bool = True
    """False for the heads' outputs only."""
    min_agreement: float | None = None
    min_iou: float | None = None
    max_depth_error: float | None = None
    """None, of any of the three: `edgec.fidelity.budget.DEFAULTS`, where there are heads."""
    registers: bool = False
    layers: tuple[int, ...] = ()
    output: Path | None = None
    force: bool = False
    threads: int | None = None
    iterations: int = 100
    patience: float = 0.0
    """Seconds that measuring waits at most until other work leaves it the cores that it needs."""
    calibration_frames: int = 128
    effort: Effort = "quick"
    seed: int = 0
    recipe: RecipeUse | None = None

    @property
    def sizes(self) -> tuple[Size, ...]:
        """All sizes, the default first."""
        return (self.size, *self.more_sizes)

    @property
    def budget(self) -> Budget:
        """What may be lost. Raises `RequestError` for a bound that nothing can keep, and for a bound on heads without heads."""
        tasks = TaskBudgets(self.min_agreement, self.min_iou, self.max_depth_error)
        if not self.heads and (tasks != TaskBudgets() or not self.features):
            raise RequestError(
                "These options are about heads, and there is no head.",
                evidence=(
                    "--min-agreement, --min-iou and --max-depth-error limit what heads may lose",
                    "--no-features leaves only the heads' outputs",
                ),
                remedy="give --head NAME=PATH, or leave these options out",
            )
        bounds = tasks.or_else(DEFAULTS) if self.heads else tasks
        return Budget(self.min_fidelity, bounds, self.min_fidelity_elsewhere)


class BuildOptions(TypedDict, total=False):
    """The fields of a `BuildRequest` except the checkpoint, for `edgec.build`."""

    weights: str | None
    config: str | None
    against: bool
    target: str
    calibration: str | None
    validation: str | None
    reading: Reading
    size: Size
    more_sizes: tuple[Size, ...]
    batch: int
    precision: PrecisionChoice
    candidate: str | None
    min_fidelity: float
    min_fidelity_elsewhere: float | None
    foreign: str | None
    heads: tuple[str, ...]
    features: bool
    min_agreement: float | None
    min_iou: float | None
    max_depth_error: float | None
    registers: bool
    layers: tuple[int, ...]
    output: Path | None
    force: bool
    threads: int | None
    iterations: int
    patience: float
    calibration_frames: int
    effort: Effort
    seed: int
    recipe: RecipeUse | None


@dataclass(frozen=True)
class Resolved:
    """The request with everything looked up. Builds with equal `key`s and equal choices write equal artefacts, but for their
    reports."""

    request: BuildRequest
    budget: Budget
    heads: tuple[tuple[str, str], ...]
    """The name and SHA-256 of each."""
    identity: Identity
    backend: Backend
    profiles: tuple[Profile, ...]
    """All targets of the artefact."""
    host: Host
    pairs: tuple[tuple[str, Precision], ...]
    lowerings: dict[str, Lowering]
    frames: FrameSet
    foreign: FrameSet
    """Frames of other places; those that are in `frames`, too, do not count."""
    output: Path
    threads: int
    tools: dict[str, str]
    key: str
    notes: tuple[str, ...]

    @property
    def profile(self) -> Profile:
        """The first target of the artefact."""
        return self.profiles[0]

    @property
    def target(self) -> str:
        """The family's name if the user gave that and it has several members, else the profile's."""
        return self.request.target if len(self.profiles) > 1 else self.profile.name

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of the backend and the lowerings, which other packages may provide."""
        return _modules(self.backend, self.lowerings)

    def rows(self) -> tuple[tuple[str, str], ...]:
        """The settings, as titles and texts for people, before work starts."""
        request = self.request
        candidates = ", ".join(f"{runtime} {precision}" for runtime, precision in self.pairs)
        shapes = ", ".join(f"[{request.batch}, {size.height}, {size.width}, 3]" for size in request.sizes)
        outputs = ["cls", "patches"] + ["registers"] * request.registers + [f"patches_{layer}" for layer in request.layers]
        outputs = [*(outputs if request.features else []), *(name for name, _ in self.heads)]
        return (
            ("checkpoint", f"{self.identity.name} ({self.identity.sha256[:12]})"),
            ("target", ", ".join(f"{profile.name}: {profile.title}" for profile in self.profiles)),
            ("input", f"uint8 NHWC {shapes}"),
            ("outputs", ", ".join(outputs)),
            ("frames", f"{self.frames.name}: {len(self.frames.frames)} frames ({self.frames.sha256[:12]})"),
            ("candidates", candidates),
            *((("heads", ", ".join(f"{name} ({sha256[:12]})" for name, sha256 in self.heads)),) if self.heads else ()),
            ("precision", f"{request.precision}, effort {request.effort}, {self.budget}"),
            ("threads", f"{self.threads} of {self.host.usable_cores} usable cores"),
            ("cache", str(cached.cache_root())),
            ("output", str(self.output)),
        )


def resolve(request: BuildRequest) -> Resolved:
    """Look up checkpoint, target, frames and heads. Raises `RequestError`, `CheckpointError`, `CalibrationError` or `TargetError`
    for everything that can be found wrong without work."""
    if request.batch < 1:
        raise RequestError("A build needs a batch of 1 or more.", evidence=f"requested: batch {request.batch}")
    budget = request.budget
    heads = identify_heads(request.heads)
    here = host.facts()
    identity = checkpoint.identify(request.checkpoint, seed=request.seed, config=request.config)
    if request.against:
        from edgec.checkpoint.author import require_author

        require_author(request.checkpoint)
    profiles = targets.chosen(request.target, here)
    backend = backends.get(profiles[0].family)
    offered = tuple(dict.fromkeys(pair for profile in profiles for pair in profile.candidates))
    pairs = offered_pairs(request.precision, offered, palettes=request.effort == "full")
    lowerings = {name: registry.get(name) for name in sorted({runtime for runtime, _ in pairs})}
    _check_candidate(request, pairs)
    _check_sizes(request, lowerings)
    _check_available(lowerings)
    frameset, notes = _frames(request)
    foreign = frames.load(request.foreign or "demo", reading=request.reading)
    _require_pictures(request, "--foreign", foreign)
    lacking = backend.lacks(profiles[0], here) if backend.runs_here else ()
    if lacking:
        notes += (f"this host lacks {', '.join(lacking)} of {profiles[0].name}: its latencies say nothing about the target",)
    threads = request.threads or here.usable_cores
    modules = ("edgec.building", "edgec.stages.assembling", *_modules(backend, lowerings))
    versions = imported(modules)
    tools = {"edgec": edgec.__version__} | {name: versions[name] for name in TOOLS if versions.get(name)}
    program = backend.program.sources() if backend.program is not None else {}
    key = cached.key(
        replace(
            request,
            checkpoint="",
            config=None,
            target="",
            calibration="",
            validation="",
            foreign=None,
            reading=Reading(),  # what comes of it is in the frames
            output=None,
            force=False,
            patience=0.0,
            heads=(),
        ),
        heads,
        identity.key,
        identity.name,
        frameset.sha256,
        frameset.name,
        foreign.sha256,
        [profile.model_dump(mode="json") for profile in profiles],
        # Of the machine only what decides how its runtimes compute: two of the same processor write the same release.
        here.model_dump(mode="json", include={"cpu", "architecture", "isa", "emulated_on"}),
        threads,
        everything(modules),
        # What it says of the graphs is in the report, and what it makes of them may be in the artefact.
        backend.compiler().version if backend.compiling else "",
        # The program goes with the artefact.
        sorted((name, hashlib.sha256(content).hexdigest()) for name, content in program.items()),
    )
    return Resolved(
        request=request,
        budget=budget,
        heads=heads,
        identity=identity,
        backend=backend,
        profiles=profiles,
        host=here,
        pairs=pairs,
        lowerings=lowerings,
        frames=frameset,
        foreign=foreign,
        output=usable_path(request.output or default_output(request, identity), "The output's path"),
        threads=threads,
        tools=tools,
        key=key,
        notes=notes,
    )


def _modules(backend: Backend, lowerings: Mapping[str, Lowering]) -> tuple[str, ...]:
    return tuple(sorted({type(provider).__module__ for provider in (backend, *lowerings.values())}))


def _check_candidate(request: BuildRequest, pairs: Sequence[tuple[str, Precision]]) -> None:
    """Raises `RequestError` for a candidate of no runtime and precision that is offered. Which plans there are of one, only the
    build knows."""
    name = request.candidate
    if name is None or any(f"{name}-".startswith(f"{runtime}-{precision}-") for runtime, precision in pairs):
        return
    raise RequestError(
        f"There is no candidate {printable(name)} for --target {printable(request.target)} and --precision {request.precision}.",
        evidence=f"names begin with {', '.join(f'{runtime}-{precision}' for runtime, precision in pairs)}",
        remedy="name one of a report's candidates with --candidate, or leave it out: the build then chooses",
    )


def _check_sizes(request: BuildRequest, lowerings: Mapping[str, Lowering]) -> None:
    """Raises `RequestError` for a size that is given twice, and for several sizes if a runtime's files hold only one."""
    requested = f"requested: {', '.join(map(str, request.sizes))}"
    if len(set(request.sizes)) < len(request.sizes):
        raise RequestError("An input size is given twice.", evidence=requested, remedy="give each size once, the default first")
    single = [lowering.title for lowering in lowerings.values() if not isinstance(lowering, ManySizes)]
    if request.more_sizes and single:
        raise RequestError(
            f"An artefact for {request.target} takes frames of one size.",
            evidence=(requested, f"{' and '.join(single)} {'have' if len(single) > 1 else 'has'} one fixed shape per model"),
            remedy="build one artefact for each size (`edgec sweep` does that), or use --target apple, which takes all in one",
        )


def _check_available(lowerings: Mapping[str, Lowering]) -> None:
    """Raises `TargetError` unless at least one is installed."""
    states = {name: lowering.availability() for name, lowering in lowerings.items()}
    if not any(state.available for state in states.values()):
        raise TargetError(
            "No runtime of this target is installed.",
            evidence=[f"{lowerings[name].title}: {state.problem}" for name, state in states.items()],
            remedy=next(iter(states.values())).install,
        )


def _require_pictures(request: BuildRequest, option: str, loaded: FrameSet | None) -> None:
    """Raises `CalibrationError` for random frames with a checkpoint that is not random."""
    if loaded is None or not loaded.random or request.checkpoint.startswith("random:"):
        return
    raise CalibrationError(
        "Random frames show nothing about how a trained model behaves on pictures.",
        evidence=f"{option} {loaded.name} with the checkpoint {request.checkpoint}",
        remedy="give frames of your camera; random frames are for `random:` checkpoints only",
    )


def _frames(request: BuildRequest) -> tuple[FrameSet, tuple[str, ...]]:
    """The calibration set, joined with the validation set if there is one, and notes for the user."""
    notes: tuple[str, ...] = ()
    if request.calibration is None and request.checkpoint != DEMO:
        notes = ("calibrated and judged on edgec's demo pictures: give --calibration with frames of your own camera",)
    frameset = frames.load("demo" if request.calibration is None else request.calibration, reading=request.reading)
    validation = None if request.validation is None else frames.load(request.validation, reading=request.reading)
    frames.require_use(request.reading, *(each for each in (frameset, validation) if each is not None))
    _require_pictures(request, "--calibration", frameset)
    _require_pictures(request, "--validation", validation)
    notes += frameset.notes
    if validation is None:
        return frameset, notes
    notes += tuple(f"validation: {note}" for note in validation.notes)
    joined = FrameSet(
        name=f"{frameset.name} + {validation.name}",
        sha256=cached.key(frameset.sha256, validation.sha256),
        frames=(
            *(replace(frame, side="calibration") for frame in frameset.frames),
            *(replace(frame, name=f"validation/{frame.name}", side="validation") for frame in validation.frames),
        ),
        skipped=(*frameset.skipped, *validation.skipped),
        random=frameset.random or validation.random,
        seed=frameset.seed,
        origins=tuple(dict.fromkeys((*frameset.origins, *validation.origins))),
    )
    return joined, notes


def default_output(request: BuildRequest, identity: Identity) -> Path:
    """A name in the current folder, of checkpoint, target, sizes, batch and heads."""
    name = "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in identity.name)
    target = Path(request.target).stem
    batch = f"-b{request.batch}" if request.batch > 1 else ""
    heads = "".join(f"-{head.partition('=')[0]}" for head in request.heads)
    return Path(f"{name}-{target}-{'-'.join(map(str, request.sizes))}{batch}{heads}.edgec")
