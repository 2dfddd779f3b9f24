"""What a family of targets provides to a build. To add a family, implement `Backend`: a build knows no family by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from edgec.backends.candidate import Assessment, Candidate
from edgec.backends.profile import Profile
from edgec.backends.program import BoardProgram
from edgec.backends.robot_code import RobotCode
from edgec.errors import TargetError
from edgec.lowering.base import Availability
from edgec.records.compilation import Compilation
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import SizeFacts, Tensor, VariantFacts
from edgec.records.report import CandidateFigures, Host, ModelFacts
from edgec.resources import room

# Commands that only list profiles must not wait for torch or a runtime: a backend imports what a build needs inside its methods.
if TYPE_CHECKING:
    from edgec.artefact.checking import OutputCheck
    from edgec.artefact.reading import OpenArtefact
    from edgec.backends.choosing import Choice
    from edgec.fidelity.budget import Budget
    from edgec.fidelity.reference import Reference
    from edgec.lowering.base import Features, LoweredModel
    from edgec.records.report import Report

OnProgress = Callable[[str, int], None]
"""Called by an assessment with what it is doing and how many of its units are done."""


@dataclass(frozen=True)
class Int8Rules:
    """How int8 is computed on the target."""

    activations: Literal["u8", "s8"]
    """The type of activations that the target's runtimes have the fastest kernels for; weights are s8."""
    paired: bool = False
    """Neighbouring products are added in pairs, in 16 bits that saturate: weights must be scaled so that no pair overflows."""
    per_token: tuple[str, ...] = ()
    """The runtimes whose int8 per token is worth trying. None without dot products of bytes: there they unpack the weights and
    multiply in float, so that only the files are int8."""


@dataclass(frozen=True)
class Circumstances:
    """Where and how candidates are assessed."""

    profiles: tuple[Profile, ...]
    host: Host
    threads: int
    iterations: int
    seed: int
    batch: int
    budget: Budget
    model: ModelFacts
    size: str
    """Of frames, HxW: the default one."""


@dataclass(frozen=True)
class Packing:
    """The artefact that is being written, for `Backend.pack`; its model and golden files are in `directory` already. `variants`
    are in the order in which a device tries them if one does not reproduce the features: the artefact's entry first."""

    directory: Path
    name: str
    build_key: str
    profiles: tuple[Profile, ...]
    target: str
    input: Tensor
    outputs: Sequence[Tensor]
    variants: Sequence[Candidate]
    golden_count: int
    budget: Budget
    model: ModelFacts
    precision_asked: str
    calibration: str
    threads: int
    folders: Mapping[str, str]
    """Where each variant's files lie in the artefact, by the variant's name."""
    heads: tuple[HeadFacts, ...] = ()
    sizes: tuple[SizeFacts, ...] = ()
    """All sizes of frames, the default first."""

    def paths_of(self, variant: Candidate) -> list[str]:
        """A variant's files in the artefact: the one that its runtime opens first, then the others."""
        assert variant.model is not None
        entry, folder = variant.model.entry, self.folders[variant.name]
        return [f"{folder}/{name}" for name in (entry, *(other for other in variant.model.files if other != entry))]


@dataclass
class VariantChecks:
    """What came of running an artefact's variants: the comparisons, which bounds are too `loose`, and what could not be run here,
    a sentence each."""

    outputs: list[OutputCheck] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Backend(ABC):
    """A family of targets."""

    name: ClassVar[str]
    profile_type: ClassVar[type[Profile]]
    """Its profiles in `targets/<name>/` are read as these."""
    runs_here: ClassVar[bool] = False
    """Whether candidates run, and are measured, on the machine that builds. If not, they are imitated, and fp16 is watched for
    overflow."""
    note: ClassVar[str]
    """How a report's figures were obtained: its first note."""
    assessed_by: ClassVar[tuple[str, ...]] = ()
    """The modules that an assessment depends on; empty for the backend's own, with all that it imports."""
    assessing: ClassVar[str] = ""
    """The title of the stage that assesses candidates; empty if nothing but their fidelity can be known here."""

    def note_on(self, profile: Profile, host: Host) -> str:
        """`note`, or another one where figures for the profile were obtained otherwise on this host."""
        return self.note

    def assessing_here(self, circumstances: Circumstances) -> str:
        """`assessing`, or empty if nothing but fidelity can be known in these circumstances."""
        return self.assessing

    compiling: ClassVar[str] = ""
    """The title of the stage in which the vendor's own compiler looks at candidates; empty: there is none for the family."""

    @property
    def profiles(self) -> Path:
        """The folder of the family's own profiles: one `<profile's name>.toml` each."""
        return room("targets") / self.name

    @property
    def program(self) -> BoardProgram | None:
        """The program that runs on the device and goes with each artefact, for `pack` to write; None for a family without one.
        The build's key covers its sources."""
        return None

    def robot_code(self, runtime: str) -> Mapping[str, RobotCode]:
        """Templates of the robot's own program around a graph for this runtime, by language (`edgec.code.languages`). Empty if
        there are none, or the runtime is another family's: called for every artefact."""
        return {}

    def members(self, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
        """The family's profiles that one artefact for the whole family serves. Empty if the family's name means one profile,
        which `best` then gives."""
        return ()

    def best(self, profiles: Sequence[Profile], host: Host) -> Profile:
        """The profile that the family's name means on this host, if it has no `members`. Raises `TargetError` if there is
        none."""
        raise TargetError(
            f"{self.name} is a family of targets; its name alone does not say which of them to build for.",
            evidence=", ".join(profile.name for profile in profiles) or "it has no profile",
            remedy="name one of these, or give the path of a TOML file of your own",
        )

    def lacks(self, profile: Profile, host: Host) -> tuple[str, ...]:
        """What this host would need to be the target; empty if it is one."""
        return (profile.title,)

    def int8_rules(self, profiles: Sequence[Profile]) -> Int8Rules:
        """How these devices compute in int8."""
        return Int8Rules("s8")

    def runtime_versions(self, precision: str, profiles: Sequence[Profile]) -> tuple[str, ...]:
        """Versions of the runtime that the devices may have and that a graph of this precision is for; empty if not known."""
        return ()

    def compiler(self) -> Availability:
        """The vendor's compiler on this machine. Only asked if `compiling` names a stage."""
        return Availability(False, problem=f"{self.name} has none")

    def compile(self, candidate: Candidate, profiles: Sequence[Profile]) -> tuple[Compilation, ...]:
        """What the compiler makes of the candidate's graph, one for each kind of GPU that the profiles have. Only called if the
        compiler is available; may take minutes."""
        return ()

    def assessment_key(self, circumstances: Circumstances, candidates: Sequence[Candidate]) -> object:
        """What an assessment depends on besides the candidates' files, as `edgec.cache.key` takes it."""
        return [profile.model_dump(mode="json") for profile in circumstances.profiles]

    def assess(
        self, candidates: Sequence[Candidate], reference: Reference, circumstances: Circumstances, on_progress: OnProgress
    ) -> tuple[Assessment, ...]:
        """One assessment for each candidate, all of which ran, in their order. Called only if `assessing` names a stage."""
        return tuple(Assessment() for _ in candidates)

    def units(self, candidates: Sequence[Candidate], circumstances: Circumstances) -> int:
        """How many units `assess` counts up to."""
        return len(candidates)

    def doubts(self, assessments: Sequence[Assessment], circumstances: Circumstances) -> tuple[str, ...]:
        """What makes the figures doubtful, a sentence each."""
        return ()

    def only_target_judges(self, candidate: Candidate, profile: Profile, host: Host) -> str:
        """Why this machine cannot judge the candidate, which is then not run here and may go along in `variants`, for the
        target's own golden run to decide; empty if it can."""
        return ""

    @abstractmethod
    def choose(self, candidates: Sequence[CandidateFigures], circumstances: Circumstances) -> Choice:
        """The candidate that ships, and why. Raises `RuntimeFailure` if none ran, `FidelityError` if none keeps the features."""

    def variants(self, candidates: Sequence[Candidate], chosen: Candidate, budget: Budget) -> tuple[Candidate, ...]:
        """The candidates that go into the artefact, the chosen one first: more than one if the device chooses again."""
        return (chosen,)

    def folder_of(self, variant: Candidate, chosen: Candidate) -> str:
        """Where a variant's files go in the artefact: `model`, where the chosen one's are, unless names would clash there."""
        return "model"

    def pack(self, packing: Packing) -> tuple[VariantFacts, ...]:
        """Write what the device needs, besides the model, into `device/` of the artefact. Returns the graphs that it may choose
        from; empty if it cannot choose."""
        return ()

    def check(self, artefact: OpenArtefact, report: Report | None, least: float | None) -> tuple[str, ...]:
        """Check what `pack` wrote: it must come from this edgec and agree with the artefact and its `report`. `least` is the
        lowest gate that is allowed, by default edgec's. Returns notes about what could not be checked. Called for every artefact,
        also for other families'. Raises `ArtefactError`."""
        return ()

    def check_variants(self, artefact: OpenArtefact, entry_features: Features, threads: int, *, same: bool) -> VariantChecks:
        """Run the graphs that a device may choose and compare each with what was recorded of it; and compare the bounds that a
        device gets with what its graphs lose here. `entry_features` is what the artefact's entry computed of the golden frames,
        `same` whether it ran as it did when they were recorded. Called for every artefact, also for other families'."""
        return VariantChecks()


def as_models(candidates: Sequence[Candidate]) -> list[LoweredModel]:
    """The files of those candidates that have some, in their order."""
    return [candidate.model for candidate in candidates if candidate.model is not None]
