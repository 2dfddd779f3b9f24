"""What the profile of a generation of RTX GPUs says."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from edgec.backends.jetson.profile import Rates
from edgec.backends.profile import DetailTable, Profile
from edgec.records.base import Record


class Card(Record):
    """One GPU of the generation whose rates NVIDIA gives."""

    name: str = Field(min_length=1)
    cache_mib: float = Field(gt=0)
    """The L2 cache: weights that fit in may stay there from run to run."""
    rates: Rates
    source: str = Field(min_length=1)


class Rtx(Record):
    """A generation, which one engine serves."""

    compute_capability: str = Field(pattern=r"^\d+\.\d$")
    cards: tuple[Card, ...] = ()
    """Those that bounds are calculated for. Rates that no source gives are absent, not guessed."""

    @property
    def sm(self) -> str:
        """As NVIDIA's compiler has it: 89 for 8.9."""
        return self.compute_capability.replace(".", "")


class RtxProfile(Profile):
    """A profile with an `[rtx]` table."""

    rtx: Rtx

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """Compute capability."""
        return (("compute", f"capability {self.rtx.compute_capability}: engines of TensorRT-RTX for SM {self.rtx.sm}"),)

    @property
    def tables(self) -> tuple[DetailTable, ...]:
        """Peaks of cards, as NVIDIA has them."""
        if not self.rtx.cards:
            return ()
        rows = []
        for card in self.rtx.cards:
            peaks = (
                card.rates.int8_tops,
                card.rates.fp8_tflops,
                card.rates.fp16_tflops,
                card.rates.fp32_tflops,
                card.rates.bandwidth_gbs,
            )
            rows.append((card.name, *(f"{value:g}" if value else "" for value in peaks)))
        return (
            DetailTable(
                "Cards: dense peaks, not what a model reaches",
                ("card", "int8 TOPS", "fp8 TFLOPS", "fp16 TFLOPS", "fp32 TFLOPS", "GB/s"),
                tuple(rows),
                tuple(f"{card.name}: {card.source}." for card in self.rtx.cards),
            ),
        )


def as_generations(profiles: Sequence[Profile]) -> tuple[RtxProfile, ...]:
    """The profiles among these that are RTX GPUs', in their order."""
    return tuple(profile for profile in profiles if isinstance(profile, RtxProfile))
