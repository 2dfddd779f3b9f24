"""INT8 must pay: which of the candidates that were measured here ships, and the sentence that says why. For another machine than
this one, what it tries first: it measures and chooses for itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgec.backends.choosing import EXACTNESS, Choice, describe_kept, describe_loss, keeps, lost, within
from edgec.backends.cpu.profile import Counts, CpuProfile
from edgec.fidelity.budget import Budget
from edgec.latency.bootstrap import QUANTILES, SampledRun, quantile
from edgec.latency.pairing import Span, sampled, time_ratio
from edgec.onboard.figures import factors, kept, milliseconds
from edgec.records.report import CandidateFigures

NEAR = 0.08
"""A candidate that is slower than the fastest by at most this share may ship instead: machines differ by more than that."""
WORTH = 0.75
"""Such a candidate must lose at most this share of what the faster one loses (1 minus its fidelity)."""
IN_QUESTION = 0.5
"""After the first rounds, whose medians other work may have shifted by a third, a candidate that is slower than the fastest by
more than this is out."""


def finalists(candidates: Sequence[CandidateFigures], budget: Budget, medians: Mapping[int, float]) -> set[int]:
    """Indices of the candidates that `choose` may still choose. `medians` are their median latencies so far, by index."""
    suitable = {index: p50 for index, p50 in medians.items() if keeps(candidates[index], budget)}
    return {index for index, p50 in suitable.items() if p50 <= min(suitable.values()) * (1 + IN_QUESTION)}


def undecided(candidates: Sequence[CandidateFigures], budget: Budget, runs: Mapping[int, SampledRun]) -> set[int]:
    """Indices of the candidates that must be measured longer, the fastest among them, because an interval leaves open what ships;
    none if nothing is open. `runs` are the samples so far, by index."""
    race = _Race.of([candidates[index] for index in runs if keeps(candidates[index], budget)], _by_name(candidates, runs))
    if race is None:
        return set()
    still_open = {name for name, span in race.spans.items() if span.low <= 1 + NEAR < span.high and race.matters(name)}
    again = still_open | {race.fastest.name} if still_open else set()
    return {index for index in runs if candidates[index].name in again}


def choose(candidates: Sequence[CandidateFigures], budget: Budget) -> Choice:
    """Of the candidates within the budget the fastest, or one that is nearly as fast and loses much less of the features.

    Latencies are compared turn by turn, with an interval. Candidates whose interval includes equality are a tie, of which the
    most faithful ships; one that is not told to be slower by more than `NEAR` counts as nearly as fast. So other work on the
    machine, which widens intervals, can make the choice more faithful, and not another one each time.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none that ran keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and candidate.latency]
    suitable = within(ran, candidates, budget)
    runs = {
        candidate.name: sampled(candidate.latency.samples_ms, candidate.latency.blocks)
        for candidate in suitable
        if candidate.latency and candidate.latency.samples_ms
    }
    race = _Race.of(suitable, runs)
    assert race is not None
    return Choice(race.choice(), _reason(race, ran, budget))


@dataclass(frozen=True)
class _Race:
    """Candidates within the budget, by how much longer than the fastest each takes."""

    candidates: tuple[CandidateFigures, ...]
    fastest: CandidateFigures
    spans: Mapping[str, Span]

    @classmethod
    def of(cls, candidates: Sequence[CandidateFigures], runs: Mapping[str, SampledRun]) -> _Race | None:
        """`runs` are the samples, by name, of those that have some. None without candidates."""

        def median(candidate: CandidateFigures) -> float:
            run = runs.get(candidate.name)
            return _p50(candidate) if run is None else quantile(run.samples, QUANTILES["p50"])

        if not candidates:
            return None
        fastest = min(candidates, key=lambda each: (median(each), *_rank(each)))
        spans = {}
        for each in candidates:
            if fastest.name in runs and each.name in runs:
                spans[each.name] = time_ratio(runs[fastest.name], runs[each.name])
            else:
                spans[each.name] = Span(*[median(each) / median(fastest)] * 2)
        return cls(tuple(candidates), fastest, spans)

    def tied(self, candidate: CandidateFigures) -> bool:
        """Whether it is not told to be slower than the fastest."""
        return self.spans[candidate.name].low <= 1

    def choice(self, *, but: str = "") -> CandidateFigures:
        """What ships; without the candidate called `but`."""
        there = [each for each in self.candidates if each.name != but]
        first = min(filter(self.tied, there), key=_rank, default=self.fastest)
        near = [each for each in there if self.spans[each.name].low <= 1 + NEAR]
        best = min(near, key=lambda each: (lost(each), self.spans[each.name].low, *_rank(each)), default=first)
        return best if lost(best) < lost(first) and lost(best) <= WORTH * lost(first) else first

    def matters(self, name: str) -> bool:
        """Whether what ships would be another one without it."""
        return name != self.fastest.name and self.choice().name == name != self.choice(but=name).name


def _by_name(candidates: Sequence[CandidateFigures], runs: Mapping[int, SampledRun]) -> dict[str, SampledRun]:
    return {candidates[index].name: run for index, run in runs.items()}


def _rank(candidate: CandidateFigures) -> tuple[float, int, str]:
    """The most faithful first; of those that lose the same, the more exact type."""
    return lost(candidate), EXACTNESS.index(candidate.precision), candidate.name


def choose_unmeasured(
    candidates: Sequence[CandidateFigures], budget: Budget, profile: CpuProfile, counts: Counts | None, size: str
) -> Choice:
    """Of the candidates within the budget what the target tries first, since latencies of another machine say nothing: that with
    the fewest instructions where the profile has `counts` of the model, at frames of this `size` or another; else the least exact
    whose runtime the profile names first.

    Raises `RuntimeFailure` if no candidate ran, `FidelityError` if none that ran keeps the features.
    """
    ran = [candidate for candidate in candidates if candidate.fidelity and not candidate.problem]
    suitable = within(ran, candidates, budget)
    counted: Mapping[str, int] = {} if counts is None else counts.million_instructions

    def order(candidate: CandidateFigures) -> tuple[float, int, int, float, str]:
        named = profile.candidates.index((candidate.runtime, candidate.precision))
        millions = counted.get(candidate.name, math.inf)
        return millions, -EXACTNESS.index(candidate.precision), named, lost(candidate), candidate.name

    first = min(suitable, key=order)
    beyond = [describe_loss(candidate, budget) for candidate in ran if candidate not in suitable]
    along = f"{len(suitable)} candidates go along" if len(suitable) > 1 else "it goes alone"
    millions = counted.get(first.name)
    at = f" of {counts.size}" if counts is not None and counts.size != size else ""
    fewest = (
        f" (of those counted it executes the fewest instructions, {millions} million a frame{at}, emulated)" if millions else ""
    )
    reason = (
        f"undecided: {first.name} is what {profile.title} tries first{fewest}; "
        f"{describe_kept(first, budget)}. Latencies of this machine "
        f"say nothing about another; {along}, and the target keeps the fastest that reproduces the features"
    )
    return Choice(first, "; ".join([reason, *beyond]) + ".")


def _reason(race: _Race, ran: Sequence[CandidateFigures], budget: Budget) -> str:
    chosen = race.choice()
    first = f"{chosen.name} takes {milliseconds(_p50(chosen))} ms at the median"
    exact = [_p50(candidate) for candidate in ran if candidate.precision == "fp32" and candidate is not chosen]
    if exact and chosen.precision != "fp32":
        first += f", {factors(min(exact) / _p50(chosen))[0]} times as fast as the best fp32"
    parts = [f"{first}; {describe_kept(chosen, budget)}"]
    for candidate in ran:
        if candidate is chosen:
            continue
        if not keeps(candidate, budget):
            parts.append(describe_loss(candidate, budget))
        elif race.tied(candidate) and race.tied(chosen):
            parts.append(f"{candidate.name} is as fast, as far as can be told, and keeps less ({kept(1 - lost(candidate))})")
        elif _p50(candidate) < _p50(chosen):
            (gain,) = factors(_p50(chosen) / _p50(candidate))
            parts.append(f"{candidate.name} is {gain} times as fast and keeps less ({kept(1 - lost(candidate))})")
        elif candidate.precision == "int8" and chosen.precision != "int8":
            parts.append(f"{candidate.name} does not pay ({milliseconds(_p50(candidate))} ms)")
    return "; ".join(parts) + "."


def _p50(candidate: CandidateFigures) -> float:
    assert candidate.latency is not None
    return candidate.latency.p50_ms
