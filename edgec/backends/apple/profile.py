"""What the profile of a chip of Apple's says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from edgec.backends.profile import Profile, version_of
from edgec.records.base import Record

FIRST_OS = {"ios": "18.0", "macos": "15.0"}
"""The first systems that take what edgec writes."""
SYSTEMS = {"ios": "iOS and iPadOS", "macos": "macOS"}


class NeuralEngine(Record):
    """`generation` is the name that Apple's compiler uses, where that is known. `tops` are the operations per second that Apple
    claims, 10^12, in whatever type Apple counted at the time."""

    generation: str | None = Field(default=None, pattern=r"^H\d+[a-z]?$")
    cores: int = Field(ge=1)
    tops: float | None = Field(default=None, gt=0)
    source: str = Field(min_length=1)


class Apple(Record):
    """One of Apple's chips: which compute units Core ML has there, and the first system versions that run on it."""

    minimum_os: dict[Literal["ios", "macos"], str] = Field(min_length=1)
    """By system, for those that run on the chip; iPadOS counts as iOS. What edgec writes needs `FIRST_OS` at least."""
    compute_units: tuple[Literal["neural-engine", "gpu", "cpu"], ...] = Field(min_length=1)
    """What a package may be measured on. The Neural Engine needs fixed shapes."""
    neural_engine: NeuralEngine
    w8a8_pays: bool
    """Whether the Neural Engine multiplies bytes faster than halves. CPU and GPU may be slower in W8A8 everywhere."""
    in_family: bool = True
    """Whether `--target apple` means it too."""

    @model_validator(mode="after")
    def _consistent(self) -> Apple:
        for system, version in self.minimum_os.items():
            if version_of(version) < version_of(FIRST_OS[system]):
                raise ValueError(f"minimum_os: edgec's packages need {system} {FIRST_OS[system]} or later, not {version}")
        return self


class AppleProfile(Profile):
    """A profile with an `[apple]` table."""

    apple: Apple

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """Systems, compute units, the Neural Engine, and whether W8A8 pays there."""
        chip, engine = self.apple, self.apple.neural_engine
        rate = f", {engine.tops:g} TOPS" if engine.tops else ""
        pays = "pays on the Neural Engine" if chip.w8a8_pays else "does not pay: bytes are multiplied no faster than halves"
        return (
            ("from", ", ".join(f"{SYSTEMS[system]} {version}" for system, version in chip.minimum_os.items())),
            ("compute units", ", ".join(chip.compute_units)),
            ("Neural Engine", f"{engine.generation or 'generation unknown'}, {engine.cores} cores{rate} ({engine.source})"),
            ("W8A8", pays),
        )


def as_chips(profiles: Sequence[Profile]) -> tuple[AppleProfile, ...]:
    """The profiles among these that are Apple's, in their order."""
    return tuple(profile for profile in profiles if isinstance(profile, AppleProfile))
