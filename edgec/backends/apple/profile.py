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
    """`generation` is the name that Apple's compiler has for it, where that is known; `tops` what Apple says that it does, in
    whatever type was Apple's at the time."""

    generation: str | None = Field(default=None, pattern=r"^H\d+[a-z]?$")
    cores: int = Field(ge=1)
    tops: float | None = Field(default=None, gt=0)
    source: str = Field(min_length=1)


class Apple(Record):
    """A chip of Apple's: what Core ML has there to run on, and from which system on."""

    minimum_os: dict[Literal["ios", "macos"], str] = Field(min_length=1)
    """By system, for those that run on the chip; iPadOS counts as iOS. What edgec writes needs those of `FIRST_OS`."""
    compute_units: tuple[Literal["neural-engine", "gpu", "cpu"], ...] = Field(min_length=1)
    """What a package may be measured on; fixed shapes are what the Neural Engine asks for."""
    neural_engine: NeuralEngine
    w8a8_pays: bool
    """Whether the Neural Engine multiplies bytes faster than halves. CPU and GPU may be slower in W8A8 everywhere."""
    in_family: bool = True
    """Whether `--target apple` means it too."""

    @model_validator(mode="after")
    def _consistent(self) -> Apple:
        for system, version in self.minimum_os.items():
            if version_of(version) < version_of(FIRST_OS[system]):
                raise ValueError(f"minimum_os: {system} {version} takes no package of edgec's, {FIRST_OS[system]} does")
        return self


class AppleProfile(Profile):
    apple: Apple

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
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
    """Those that are Apple's."""
    return tuple(profile for profile in profiles if isinstance(profile, AppleProfile))
