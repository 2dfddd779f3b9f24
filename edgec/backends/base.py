"""What a family of targets offers to a build. Adding a family is implementing `Backend`: nothing else knows families by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from edgec.backends.candidate import Assessment, Candidate
from edgec.backends.profile import Profile
from edgec.errors import TargetError
from edgec.lowering.base import Availability
from edgec.records.compilation import Compilation
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import Tensor, VariantFacts
from edgec.records.report import CandidateFigures, Host, ModelFacts
from edgec.resources import room

# A backend is asked for its profiles by commands that must not wait for torch or a runtime: what it needs for a build, it imports
# when there is one.
if TYPE_CHECKING:
    from edgec.artefact.reading import OpenArtefact
    from edgec.backends.choosing import Choice
    from edgec.fidelity.budget import Budget
    from edgec.fidelity.reference import Reference
    from edgec.lowering.base import LoweredModel
    from edgec.records.report import Report

Tell = Callable[[str, int], None]
"""What an assessment is busy with, and how many of its units are done."""


@dataclass(frozen=True)
class Int8Rules:
    """How int8 is computed on the target."""

    activations: Literal["u8", "s8"]
    """The type of activations, weights being s8, that its runtimes have the fastest kernels for."""
    paired: bool = False
    """Neighbouring products are added in 16 bits that saturate: weights must be scaled so that no pair can."""
    dot_product: bool = False
    """Products of bytes are summed in 32 bits. Without that no runtime computes per token in int8."""


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


@dataclass(frozen=True)
class Packing:
    """What a device is told of the artefact that is being written for it; its model and golden files are there. `variants` are in
    the order in which they are tried when one does not reproduce the features: the artefact's own first."""

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
    heads: tuple[HeadFacts, ...] = ()


class Backend(ABC):
    """A family of targets."""

    name: ClassVar[str]
    profile_type: ClassVar[type[Profile]]
    """Its profiles in `targets/<name>/` are read as these."""
    runs_here: ClassVar[bool] = False
    """Whether what is built runs, and is measured, on the machine that builds. Elsewhere it is imitated here: fp16 is watched for
    overflow, and int8 has no exceptions that nobody could weigh."""
    note: ClassVar[str]
    """How a report's figures came about."""
    assessing: ClassVar[str] = ""
    """The title of the stage that assesses candidates; empty: nothing can be said of them here but their fidelity."""

    compiling: ClassVar[str] = ""
    """The title of the stage in which the vendor's own compiler looks at candidates; empty: there is none for the family."""

    @property
    def profiles(self) -> Path:
        """The folder of the family's own profiles, `<profile's name>.toml` each."""
        return room("targets") / self.name

    def members(self, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
        """Those of the family's profiles that one artefact for the family serves. Empty: the family's name means one profile,
        `best`."""
        return ()

    def best(self, profiles: Sequence[Profile], host: Host) -> Profile:
        """What the family's name means on this host, where it has no `members`. Raises `TargetError` for none."""
        raise TargetError(
            f"{self.name} is a family of targets, and none of them is meant by its name.",
            evidence=", ".join(profile.name for profile in profiles) or "it has no profile",
            remedy="name one of these, or give the path of a TOML file of your own",
        )

    def lacks(self, profile: Profile, host: Host) -> tuple[str, ...]:
        """What this host lacks to be the target."""
        return (profile.title,)

    def int8_rules(self, profiles: Sequence[Profile]) -> Int8Rules:
        return Int8Rules("s8")

    def runtime_versions(self, precision: str, profiles: Sequence[Profile]) -> tuple[str, ...]:
        """Versions of the runtime that the devices may have and that a graph of this precision is for; empty: not known."""
        return ()

    def compiler(self) -> Availability:
        """The vendor's compiler on this machine. Only asked if `compiling` names a stage."""
        raise NotImplementedError(f"{self.name} has no compiler")

    def compile(self, candidate: Candidate, profiles: Sequence[Profile]) -> tuple[Compilation, ...]:
        """What the compiler makes of the candidate's graph, one for each kind of GPU that the profiles have. Only called if the
        compiler is available; may take minutes."""
        return ()

    def assessment_key(self, circumstances: Circumstances, candidates: Sequence[Candidate]) -> object:
        """What an assessment depends on beside the candidates' files."""
        return [profile.model_dump(mode="json") for profile in circumstances.profiles]

    def assess(
        self, candidates: Sequence[Candidate], reference: Reference, circumstances: Circumstances, tell: Tell
    ) -> tuple[Assessment, ...]:
        """One for each candidate, all of which ran. Only called if `assessing` names a stage."""
        return tuple(Assessment() for _ in candidates)

    def units(self, candidates: Sequence[Candidate], circumstances: Circumstances) -> int:
        """How many units `assess` tells of."""
        return len(candidates)

    def doubts(self, assessments: Sequence[Assessment], circumstances: Circumstances) -> tuple[str, ...]:
        """What makes the figures doubtful."""
        return ()

    @abstractmethod
    def choose(self, candidates: Sequence[CandidateFigures], budget: Budget, profiles: Sequence[Profile]) -> Choice:
        """Which candidate ships. Raises `RuntimeFailure` if none ran, `FidelityError` if none keeps the features."""

    def variants(self, candidates: Sequence[Candidate], chosen: Candidate, budget: Budget) -> tuple[Candidate, ...]:
        """What goes into the artefact, the chosen one first, where a device may choose again."""
        return (chosen,)

    def pack(self, packing: Packing) -> tuple[VariantFacts, ...]:
        """Write what the device needs beside the model into `device/` of the artefact; returned is what it may choose from."""
        return ()

    def programs(self) -> Mapping[str, bytes]:
        """What `pack` writes of edgec's own, by name: the build's key holds it."""
        return {}

    def check(self, artefact: OpenArtefact, report: Report | None, least: float | None) -> tuple[str, ...]:
        """What `pack` wrote must be this edgec's and say what the artefact and its `report` say; `least` is what a gate must
        be at least. Returned are notes of what could not be checked. Raises `ArtefactError`."""
        return ()


def as_models(candidates: Sequence[Candidate]) -> list[LoweredModel]:
    """The files of candidates that all have some."""
    return [candidate.model for candidate in candidates if candidate.model is not None]
