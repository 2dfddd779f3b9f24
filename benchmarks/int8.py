"""int8 against its goals: edgec's candidates and the peers on several models, in one process, and a table of what was met."""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import goals as rules
from benchmarks.building import build_once
from benchmarks.cases import Case, cases
from benchmarks.contender import judge
from benchmarks.contest import contest_frames
from benchmarks.goals import Goal
from benchmarks.neighbours import Neighbours, labelled_pictures, right_of
from benchmarks.own import Built, all_contenders
from benchmarks.peers import HALF, NNCF_HUB, NNCF_TRANSFORMER, ORT_S8S8, TORCH, peer_contenders
from benchmarks.race import percentile, race, ratio
from benchmarks.roofline import Roofline, measure_roofline
from benchmarks.tables import Result, contest_table, goals_table, host_line
from benchmarks.tensorrt import Simulated, simulate
from edgec.host import facts as host
from edgec.model.spec import Size
from edgec.request import BuildRequest, Effort

BUILDS: tuple[Effort, ...] = ("full", "quick")

Note = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What a run compares, and how thoroughly."""

    checkpoint: str
    calibration: str
    evaluation: str | None
    labelled: str | None
    rounds: int
    threads: int
    effort: Effort
    builds: bool
    """Whether to measure what cold builds cost as well."""


@dataclass(frozen=True)
class Outcome:
    """Of one case. `ours` is the int8 artefact that the goals are about."""

    case: Case
    built: Built
    results: tuple[Result, ...]
    ours: Result
    simulated: Simulated
    knn: Neighbours | None
    roofline: Roofline

    def named(self, name: str) -> Result:
        """The contender of that name."""
        return next(result for result in self.results if result.name == name)


def run_int8(models: Sequence[str], sizes: Sequence[Size], settings: Settings, json_file: Path | None) -> None:
    """Prints a table a case as it is done, then the goals."""
    console = Console(width=max(120, Console().width))
    aside = Console(stderr=True, highlight=False)
    document: dict[str, Any] = {"host": host.facts().model_dump(mode="json"), "settings": asdict(settings), "cases": []}
    goals: list[Goal] = []

    def record_goals(case_goals: list[Goal], **record: Any) -> None:
        # After every case: what comes later may fail, or be interrupted.
        goals.extend(case_goals)
        document["cases"].append(record)
        if json_file:
            json_file.write_text(json.dumps(document, indent=1), encoding="utf-8")

    try:
        with tempfile.TemporaryDirectory(prefix="edgec-bench-") as folder:
            for case in cases(models, settings.checkpoint, sizes, Path(folder)):
                outcome = _run_case(case, settings, console, lambda text: aside.print(f"{case.label}: {text}", style="dim"))  # noqa: B023
                case_goals = _goals(outcome)
                record_goals(case_goals, **_record(outcome, case_goals))
                gc.collect()
        for effort in BUILDS if settings.builds else ():
            aside.print(f"cold build, --effort {effort}", style="dim")
            case_goals = _build_goals(settings, effort)
            record_goals(case_goals, model=f"cold build, {effort}", goals=[_goal_json(goal) for goal in case_goals])
    finally:
        console.print(goals_table(goals))


def _run_case(case: Case, settings: Settings, console: Console, note: Note) -> Outcome:
    threads = settings.threads
    calibrate, judges = contest_frames(settings.calibration, settings.evaluation, case.size)
    with tempfile.TemporaryDirectory(prefix="edgec-bench-") as folder:
        note("edgec build")
        request = BuildRequest(
            case.checkpoint,
            calibration=settings.calibration,
            size=case.size,
            threads=threads,
            effort=settings.effort,
            output=Path(folder) / "auto.edgec",
        )
        built = all_contenders(request)
        contenders = list(built.contenders)
        for peer in peer_contenders(case.checkpoint, calibrate, case.size, threads, Path(folder), built.hub):
            note(peer.name)
            contenders.append(peer)
        torch = next(contender for contender in contenders if contender.name == TORCH)
        expected = [torch.run(frame) for frame in judges]
        judgements = []
        for contender in contenders:
            note(f"judging {contender.name}")
            judgements.append(judge(contender.run, judges, expected))
        note("racing")
        blocks = race(contenders, judges, settings.rounds)
        results = tuple(Result(*parts) for parts in zip(contenders, judgements, blocks, strict=True))
        ours = next(result for result in results if result.name == built.int8)
        console.print(
            f"\n[bold]{case.label}[/bold]  {host_line(threads, case.size, len(calibrate), len(judges))}", soft_wrap=True
        )
        console.print(contest_table(results, ours))
        console.print(f"ships {built.shipped}: {built.reason}\n", style="dim")
        note("TensorRT's plan")
        simulated = simulate(built.hub, built.statistics, judges, expected, threads)
        knn = None
        if settings.labelled and case.trained:
            note("nearest neighbours")
            pictures, labels = labelled_pictures(settings.labelled, case.size)
            half = next((contender for contender in contenders if contender.name == HALF.format("bf16")), None)
            knn = Neighbours(
                right_of(torch.run, pictures, labels),
                right_of(ours.contender.run, pictures, labels),
                right_of(half.run, pictures, labels) if half else None,
            )
        note("roofline")
        return Outcome(case, built, results, ours, simulated, knn, measure_roofline(built.hub, threads))


def _goals(outcome: Outcome) -> list[Goal]:
    case, ours = outcome.case, outcome.ours
    model = case.label
    goals = []
    for peer, held in ((NNCF_TRANSFORMER, True), (NNCF_HUB, False)):
        theirs = outcome.named(peer)
        goals += rules.fidelity_goals(model, case.bounds, ours.judgement, theirs.judgement, peer, held=held)
        goals.append(rules.latency_goal(model, ratio(ours.blocks, theirs.blocks), peer, held=held))
    simulated, peers = outcome.simulated, outcome.named(ORT_S8S8).judgement
    goals += rules.tensorrt_goals(model, case.bounds, simulated.judgement, peers, simulated.share, simulated.of_weights)
    if outcome.knn is not None:
        goals.append(rules.neighbours_goal(model, outcome.knn))
    goals.append(rules.roofline_goal(model, outcome.roofline.ideal_ms, ours.p50))
    return goals


def _build_goals(settings: Settings, effort: Effort) -> list[Goal]:
    with tempfile.TemporaryDirectory(prefix="edgec-bench-") as folder:
        output, cache = Path(folder) / "cold.edgec", Path(folder) / "cache"
        spent = build_once(settings.checkpoint, settings.calibration, "224", output, cache, "--effort", effort)
    return rules.build_goals("plain 224x224", effort, *spent)


def _record(outcome: Outcome, goals: Sequence[Goal]) -> dict[str, Any]:
    built, simulated = outcome.built, outcome.simulated
    return {
        "model": outcome.case.label,
        "shipped": built.shipped,
        "int8": built.int8,
        "reason": built.reason,
        "contenders": [
            {
                "name": result.name,
                "p50_ms": result.p50,
                "p99_ms": percentile(result.blocks, 99),
                "fidelity": asdict(result.judgement),
                "execution": built.execution.get(result.name, ""),
                "blocks_ms": result.blocks,
            }
            for result in outcome.results
        ],
        "tensorrt": asdict(simulated),
        "roofline": {
            "ideal_ms": outcome.roofline.ideal_ms,
            "macs_a_second": {f"{s.rows}x{s.depth}x{s.width}": rate for s, rate in outcome.roofline.rates.items()},
        },
        "goals": [_goal_json(goal) for goal in goals],
    }


def _goal_json(goal: Goal) -> dict[str, Any]:
    return {**asdict(goal), "evidence": goal.evidence.value}
