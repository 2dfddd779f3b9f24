"""The family of CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from edgec.backends.base import Backend, Circumstances, Int8Rules, OnProgress, as_models
from edgec.backends.candidate import Assessment, Candidate
from edgec.backends.cpu.profile import CpuProfile
from edgec.backends.profile import Profile
from edgec.errors import TargetError
from edgec.records.report import CandidateFigures, Host

if TYPE_CHECKING:
    from edgec.backends.choosing import Choice
    from edgec.fidelity.budget import Budget
    from edgec.fidelity.reference import Reference

MAX_SECONDS = 12.0
"""How long measuring one candidate's latency may take: slow models get fewer iterations, and the report says how many."""


class CpuBackend(Backend):
    """What is built runs, and is measured, on the machine that builds: the fastest within the budget ships."""

    name = "cpu"
    profile_type = CpuProfile
    runs_here = True
    note = (
        "Candidates ran in processes of their own, in interleaved blocks of at most ten runs, in random order; each block began "
        "with a tenth of a second of unrecorded runs. Percentiles are nearest-rank over all recorded runs; nothing is clipped."
    )
    assessing: ClassVar[str] = "measure latency"

    def best(self, profiles: Sequence[Profile], host: Host) -> Profile:
        """Of the ranked profiles that the host has everything for, the one with the highest rank."""
        ranked = [profile for profile in profiles if profile.standing is not None]
        suitable = [profile for profile in ranked if not _lacking(profile, host)]
        if suitable:
            return max(suitable, key=lambda profile: profile.standing or 0)
        nearest = [f"{profile.name} needs {', '.join(_lacking(profile, host))}" for profile in ranked]
        raise TargetError(
            "No CPU profile suits this host.",
            evidence=[
                f"{host.cpu}, {host.architecture}, with {', '.join(host.isa) or 'none of the flags that edgec knows'}",
                *nearest,
            ],
            remedy="build for another target by its name, or describe this one in a TOML file and give its path",
        )

    def lacks(self, profile: Profile, host: Host) -> tuple[str, ...]:
        """CPU flags, spelled as in /proc/cpuinfo; on another architecture, that architecture and all of the flags. If the CPU
        is emulated, that is lacking, too."""
        flags = _lacking(profile, host)
        return flags if host.emulated_on is None else (*flags, f"a real CPU: this one is emulated on {host.emulated_on}")

    def int8_rules(self, profiles: Sequence[Profile]) -> Int8Rules:
        """As the first profile's `[int8]` table says."""
        facts = _cpu(profiles[0]).int8
        if facts is None:
            return Int8Rules("u8")
        return Int8Rules(facts.activations, paired=facts.pairs_saturate, per_token=facts.per_token if facts.dot_product else ())

    def assessment_key(self, circumstances: Circumstances, candidates: Sequence[Candidate]) -> object:
        """The host, threads, iterations, and the candidates that keep the budget: only those are measured in full."""
        from edgec.backends.cpu.choosing import finalists

        figures = [candidate.figures() for candidate in candidates]
        keep = sorted(finalists(figures, circumstances.budget, dict.fromkeys(range(len(figures)), 0.0)))
        host = circumstances.host.model_dump(mode="json", exclude={"governor"})
        return [host, circumstances.threads, circumstances.iterations, keep]

    def units(self, candidates: Sequence[Candidate], circumstances: Circumstances) -> int:
        """Recorded runs."""
        return circumstances.iterations * len(candidates)

    def assess(
        self, candidates: Sequence[Candidate], reference: Reference, circumstances: Circumstances, on_progress: OnProgress
    ) -> tuple[Assessment, ...]:
        """Latency, cold start and memory, candidates in turn."""
        from edgec.backends.cpu.choosing import finalists
        from edgec.batches import stacks
        from edgec.host.facts import evidence_here
        from edgec.latency.measure import measure

        figures = [candidate.figures() for candidate in candidates]
        measured = measure(
            as_models(candidates),
            stacks(reference.frames, circumstances.batch),
            threads=circumstances.threads,
            iterations=circumstances.iterations,
            max_seconds=MAX_SECONDS,
            seed=circumstances.seed,
            names=[candidate.name for candidate in candidates],
            goes_on=lambda medians: finalists(figures, circumstances.budget, medians),
            progress=lambda doing, done, _total: on_progress(doing, done),
            evidence=evidence_here(circumstances.host, None),
        )
        return tuple(
            Assessment(
                latency=measurement.latency,
                cold_start=measurement.cold_start,
                cpu_ms_per_frame=measurement.cpu_ms_per_frame,
                other_cores=measurement.other_cores,
                problem=measurement.problem,
            )
            for measurement in measured
        )

    def doubts(self, assessments: Sequence[Assessment], circumstances: Circumstances) -> tuple[str, ...]:
        """Other work that took cores meanwhile."""
        from edgec.host.facts import contention

        busy = [assessment.other_cores for assessment in assessments if assessment.other_cores is not None]
        return contention(circumstances.host, circumstances.threads, busy)

    def choose(self, candidates: Sequence[CandidateFigures], budget: Budget, profiles: Sequence[Profile]) -> Choice:
        """The fastest, or one that is nearly as fast and loses much less."""
        from edgec.backends.cpu.choosing import choose

        return choose(candidates, budget)


def _lacking(profile: Profile, host: Host) -> tuple[str, ...]:
    required = _cpu(profile).isa
    if host.architecture != profile.architecture:
        return (profile.architecture, *required)
    return tuple(flag for flag in required if flag not in host.isa)


def _cpu(profile: Profile) -> CpuProfile:
    assert isinstance(profile, CpuProfile)
    return profile
