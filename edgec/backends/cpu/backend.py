"""The family of CPUs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from edgec.backends.base import Backend, Circumstances, Int8Rules, OnProgress, Packing, VariantChecks
from edgec.backends.candidate import Assessment, Candidate
from edgec.backends.cpu.profile import CpuProfile
from edgec.backends.cpu.program import cpu_program
from edgec.backends.cpu.robot_code import cpu_robot_code
from edgec.backends.profile import Profile
from edgec.backends.program import BUNDLE, BoardProgram
from edgec.backends.robot_code import RobotCode
from edgec.errors import TargetError
from edgec.records.manifest import VariantFacts
from edgec.records.report import CandidateFigures, Host

if TYPE_CHECKING:
    from edgec.artefact.reading import OpenArtefact
    from edgec.backends.choosing import Choice
    from edgec.fidelity.budget import Budget
    from edgec.fidelity.reference import Reference
    from edgec.lowering.base import Features
    from edgec.records.report import Report

ELSEWHERE = (
    "No latency was measured: this machine is not the target. The features are what it computes with the same files. On the "
    "target, device/edgec-cpu.pyz verifies and measures, by itself or with `edgec deploy`."
)


class CpuBackend(Backend):
    """What is built runs on the machine that builds. If that is the target, it is measured, and the fastest within the budget
    ships. If not, every candidate within the budget goes to the target, which measures them and keeps the fastest."""

    name = "cpu"
    profile_type = CpuProfile
    runs_here = True
    note = (
        "Candidates ran in processes of their own, in interleaved blocks of at most ten runs, in random order; each block began "
        "with a tenth of a second of unrecorded runs. Percentiles are nearest-rank over all recorded runs; nothing is clipped."
    )
    assessed_by: ClassVar[tuple[str, ...]] = ("edgec.backends.cpu.measuring",)
    assessing: ClassVar[str] = "measure latency"

    @property
    def program(self) -> BoardProgram:
        """Verifies and measures models on the target, and activates one."""
        return cpu_program()

    def robot_code(self, runtime: str) -> Mapping[str, RobotCode]:
        """C++, Python and a ROS 2 node, for both runtimes."""
        return cpu_robot_code(runtime)

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

    def note_on(self, profile: Profile, host: Host) -> str:
        """Nothing is measured on another CPU than the target's."""
        return ELSEWHERE if self.lacks(profile, host) else self.note

    def assessing_here(self, circumstances: Circumstances) -> str:
        """Latencies are measured only where they mean something."""
        return "" if self.lacks(circumstances.profiles[0], circumstances.host) else self.assessing

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
        from edgec.backends.cpu.measuring import measured

        lacks = self.lacks(circumstances.profiles[0], circumstances.host)
        return measured(candidates, reference, circumstances, on_progress, lacks)

    def doubts(self, assessments: Sequence[Assessment], circumstances: Circumstances) -> tuple[str, ...]:
        """Other work that took cores meanwhile."""
        from edgec.host.facts import contention

        busy = [assessment.other_cores for assessment in assessments if assessment.other_cores is not None]
        return (*contention(circumstances.host, circumstances.threads, busy), *_cut_short(assessments, circumstances.iterations))

    def only_target_judges(self, candidate: Candidate, profile: Profile, host: Host) -> str:
        """fp16, on another CPU than the target's: told to compute in it, OpenVINO takes what the CPU at hand has."""
        if candidate.precision != "fp16" or not _lacking(profile, host):
            return ""
        return (
            f"not judged here: fp16 is the arithmetic of {profile.title}, and this CPU would compute something else. It goes "
            "along, and is activated only if it reproduces the golden features there"
        )

    def choose(self, candidates: Sequence[CandidateFigures], circumstances: Circumstances) -> Choice:
        """The fastest, or one that is nearly as fast and loses much less. If none was measured, what the target tries first."""
        from edgec.backends.cpu.choosing import choose, choose_unmeasured

        if any(candidate.latency for candidate in candidates):
            return choose(candidates, circumstances.budget)
        profile = _cpu(circumstances.profiles[0])
        counts = profile.counted(circumstances.model.arch, circumstances.size)
        return choose_unmeasured(candidates, circumstances.budget, profile, counts, circumstances.size)

    def variants(self, candidates: Sequence[Candidate], chosen: Candidate, budget: Budget) -> tuple[Candidate, ...]:
        """The chosen one; if nothing was measured, all that keep the budget, or that only the target can judge."""
        from edgec.backends.choosing import keeps

        if any(candidate.assessment.latency for candidate in candidates):
            return (chosen,)
        suitable = [each for each in candidates if (each.ran and keeps(each.figures(), budget)) or each.unjudged]
        return (chosen, *(each for each in suitable if each is not chosen))

    def folder_of(self, variant: Candidate, chosen: Candidate) -> str:
        """A folder each: runtimes name their files alike."""
        return "model" if variant is chosen else f"variants/{variant.name}"

    def pack(self, packing: Packing) -> tuple[VariantFacts, ...]:
        """The program, bundle.json, and what each variant computes of the golden frames."""
        from edgec.backends.cpu.packing import write_cpu_bundle

        return write_cpu_bundle(packing, self.program)

    def check(self, artefact: OpenArtefact, report: Report | None, least: float | None) -> tuple[str, ...]:
        """The program and bundle.json, if the artefact has them."""
        from edgec.backends.checking import check_program, speaks_to

        if not speaks_to(artefact, self.program.path, BUNDLE):
            return ()
        from edgec.backends.bundle_checking import check_bundle

        notes = check_program(artefact, self.program.path, self.program.archive(), sent=True)
        check_bundle(artefact, report, least, program=self.program)
        return notes

    def check_variants(self, artefact: OpenArtefact, entry_features: Features, threads: int, *, same: bool) -> VariantChecks:
        """Every model that bundle.json lists."""
        from edgec.backends.checking import speaks_to

        if not speaks_to(artefact, self.program.path, BUNDLE) or BUNDLE not in {file.path for file in artefact.manifest.files}:
            return VariantChecks()
        from edgec.backends.bundle_checking import check_variants

        return check_variants(artefact, entry_features, threads, same=same)


def _cut_short(assessments: Sequence[Assessment], iterations: int) -> tuple[str, ...]:
    """What the bound on measuring costs, where a model is so slow that it applied to all candidates."""
    most = max((each.latency.iterations for each in assessments if each.latency), default=iterations)
    if most >= iterations:
        return ()
    return (
        f"Slow runs: at most {most} instead of {iterations} of a candidate were recorded, because measuring is bounded in time. "
        f"Of {most} runs, all beyond p{100 - math.ceil(100 / most)} is the slowest one alone; `edgec bench --iterations N` "
        "records more",
    )


def _lacking(profile: Profile, host: Host) -> tuple[str, ...]:
    required = _cpu(profile).isa
    if host.architecture != profile.architecture:
        return (profile.architecture, *required)
    return tuple(flag for flag in required if flag not in host.isa)


def _cpu(profile: Profile) -> CpuProfile:
    assert isinstance(profile, CpuProfile)
    return profile
