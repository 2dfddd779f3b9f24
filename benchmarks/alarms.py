"""How often `edgec compare` raises a false alarm, and how often it sees a true slowdown, on real runs of `edgec bench`.

Two artefacts are made of the demo checkpoint: its first nine blocks, and its first ten, which take about a tenth longer, by
more work in every run. Both are measured in turn, each time in a process of its own, as a user does. Then pairs of these runs
are compared as `edgec compare --fail-on-regression` would: two runs of one artefact, where every difference that it shows is
false, and one run of each, where it should show that the second is slower.
"""

from __future__ import annotations

import math
import os
import platform
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks.outliers import write_huggingface
from edgec.building import build
from edgec.checkpoint import read
from edgec.latency.bootstrap import level_ms
from edgec.model.spec import Size, VitSpec
from edgec.report.compare.opening import open_side
from edgec.report.compare.sides import Side
from edgec.report.compare.verdicts import Verdict, compare, gate
from edgec.report.sheets import numbers, sheet, texts
from edgec.report.table import terminal_table
from edgec.request import BuildRequest

DEPTHS = {"usual": 9, "slower": 10}
PAIRS = 200


@dataclass(frozen=True)
class Rates:
    """Shares of `pairs`. `shown` is the median of the least effects that a pair's p50 could have shown; `judged` is the share of
    pairs whose p50 could be judged at all, `p99_different` of those whose p99 was called faster or slower."""

    pairs: int
    faster: float
    slower: float
    gated: float
    judged: float
    p99_judged: float
    p99_different: float
    shown: float


def run_alarms(folder: Path, runs: int, iterations: int, percent: float, several: Sequence[int]) -> None:
    """Measures what is not yet in `folder`, and prints the rates for each number of runs a side in `several`."""
    artefacts = {name: make_artefact(folder, depth) for name, depth in DEPTHS.items()}
    measure(artefacts, folder, runs, iterations)
    console = Console(width=120)
    sides = {name: [open_side(path) for path in sorted((folder / name).glob("*.json"))] for name in artefacts}
    console.print(_levels(sides))
    rows = []
    for count in several:
        for title, first, second in (("one artefact", "usual", "usual"), ("usual and slower", "usual", "slower")):
            of_pairs = rates(draw(sides[first], sides[second], count), percent)
            shares = astuple(of_pairs)[1:-1]
            effect = f"{100 * (of_pairs.shown - 1):.1f} %"
            rows.append((str(count), title, str(of_pairs.pairs), *(f"{share:.1%}" for share in shares), effect))
    figures = numbers("pairs", "faster", "slower", "alarms", "p50 judged", "p99 judged", "p99 differs", "would notice")
    console.print(terminal_table(sheet(numbers("runs a side") + texts("pairs of") + figures, rows)))


def make_artefact(folder: Path, depth: int) -> Path:
    """The demo's first `depth` blocks in float32 on OpenVINO, for this host; not built again if it is there."""
    path = folder / f"depth-{depth}.edgec"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    demo = read("demo")
    assert isinstance(demo.spec, VitSpec)
    weights = {name: value for name, value in demo.weights.items() if not _is_deeper(name, depth)}
    shallow = replace(demo, name=f"demo-{depth}", spec=replace(demo.spec, depth=depth), weights=weights)
    checkpoint = write_huggingface(shallow, folder / f"depth-{depth}")
    request = BuildRequest(str(checkpoint), target=str(_profile(folder)), size=Size(224, 224), iterations=10, output=path)
    return build(request).directory


def _is_deeper(name: str, depth: int) -> bool:
    room, _, rest = name.partition(".")
    return room == "blocks" and int(rest.partition(".")[0]) >= depth


def _profile(folder: Path) -> Path:
    """With one candidate, so that both artefacts run in the same runtime."""
    arm = platform.machine() in ("aarch64", "arm64")
    lines = [
        'name = "one-candidate"',
        'family = "cpu"',
        'title = "this host, OpenVINO in float32"',
        f'architecture = "{"aarch64" if arm else "x86_64"}"',
        f'isa = ["{"asimd" if arm else "sse4_2"}"]',
        '[precisions]\nfp32 = ["openvino"]',
        f'[int8]\ndot_product = false\nactivations = "{"s8" if arm else "u8"}"\npairs_saturate = false',
    ]
    path = folder / "one-candidate.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def measure(artefacts: dict[str, Path], folder: Path, runs: int, iterations: int) -> None:
    """`runs` reports of each artefact in `folder`/NAME, all taking turns; those that are there are not measured again."""
    order = random.Random(0)
    for number in range(runs):
        turns = list(artefacts)
        order.shuffle(turns)
        for name in turns:
            path = folder / name / f"{number:03}.json"
            if path.exists():
                continue
            path.parent.mkdir(exist_ok=True)
            print(f"run {number + 1} of {runs}: {name}", file=sys.stderr)
            command = [sys.executable, "-m", "edgec", "bench", str(artefacts[name])]
            command += ["--iterations", str(iterations), "--output", str(path)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))


def draw(first: Sequence[Side], second: Sequence[Side], count: int) -> list[tuple[Side, Side]]:
    """`PAIRS` pairs of `count` runs each; no run is on both sides."""
    chance = random.Random(0)
    pairs = []
    for _ in range(PAIRS):
        if first is second:
            runs = chance.sample(first, 2 * count)
            pairs.append((_together(runs[:count]), _together(runs[count:])))
        else:
            pairs.append((_together(chance.sample(first, count)), _together(chance.sample(second, count))))
    return pairs


def _together(runs: Sequence[Side]) -> Side:
    reports, candidates = (tuple(part for run in runs for part in getattr(run, name)) for name in ("reports", "candidates"))
    return Side(runs[0].name, reports, candidates)


def rates(pairs: Sequence[tuple[Side, Side]], percent: float) -> Rates:
    """Compares each pair as `edgec compare --fail-on-regression` does, and counts."""
    compared = [compare(*pair) for pair in pairs]
    p50, p99 = ([each.latency[index] for each in compared] for index in (0, 1))
    effects = [judged.ratio.shown for judged in p50 if judged.ratio is not None]

    def share(holds: Sequence[bool]) -> float:
        return sum(holds) / len(pairs)

    return Rates(
        len(pairs),
        share([judged.verdict is Verdict.FASTER for judged in p50]),
        share([judged.verdict is Verdict.SLOWER for judged in p50]),
        share([bool(gate([each], percent).alarms) for each in compared]),
        share([judged.verdict is not None for judged in p50]),
        share([judged.verdict is not None for judged in p99]),
        share([judged.verdict in (Verdict.FASTER, Verdict.SLOWER) for judged in p99]),
        statistics.median(effects) if effects else math.nan,
    )


def _levels(sides: dict[str, list[Side]]) -> str:
    """What the runs are like: how much slower the slower artefact really is, and how much runs of one differ."""
    logs = {
        name: [math.log(side.quantile_ms("p50", 0.5) or math.nan) for side in runs_of_one] for name, runs_of_one in sides.items()
    }
    usual, slower = (logs[name] for name in DEPTHS)
    inside = [run.drift(0.5) for runs_of_one in sides.values() for side in runs_of_one for run in side.runs]
    paced = {
        name: [math.log(level_ms(side.paced, 0.5)) for side in runs_of_one if side.paced] for name, runs_of_one in sides.items()
    }
    paces = [math.log(side.pace_ms) for runs_of_one in sides.values() for side in runs_of_one if side.pace_ms]
    others = [latency.other_cores or 0.0 for runs_of_one in sides.values() for side in runs_of_one if (latency := side.latency)]
    return (
        f"{len(usual)} runs of each; p50 {math.exp(statistics.fmean(usual)):.2f} ms, the slower one's "
        f"{math.exp(statistics.fmean(slower) - statistics.fmean(usual)):.3f} times that; runs of one artefact differ by "
        f"{statistics.stdev(usual):.1%} and {statistics.stdev(slower):.1%} (standard deviation of p50), tenths of a run by "
        f"{statistics.median(inside):.1%} (median); other work used {statistics.median(others):.2f} cores (median)"
        + (_paced(paced["usual"], paced["slower"], paces) if min(map(len, paced.values())) > 1 else "")
    )


def _paced(usual: Sequence[float], slower: Sequence[float], paces: Sequence[float]) -> str:
    """The same, once the machine's speed is taken out."""
    return (
        f"; the machine's speed varied by {statistics.stdev(paces):.1%}, and without it runs of one artefact differ by "
        f"{statistics.stdev(usual):.1%} and {statistics.stdev(slower):.1%}, and the slower one takes "
        f"{math.exp(statistics.fmean(slower) - statistics.fmean(usual)):.3f} times as long"
    )
