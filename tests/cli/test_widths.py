"""What commands print in terminals of 80 and 120 columns: as it was looked at last (`shown/`), with no word broken.

After a change that is meant: `EDGEC_SHOW_AGAIN=1 pytest tests/cli/test_widths.py`, and look at the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgec.cli import build, console, run
from edgec.onboard.statistics import summary
from edgec.records.report import Report
from tests.report.conftest import headed as headed
from tests.report.conftest import report as report
from tests.support.reports import samples

SHOWN = Path(__file__).parent / "shown"
Said = Callable[..., tuple[int, str, str]]
Shown = Callable[[str, int, str], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the terminal that wide."""

    def wide(width: int) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        for each in (console.out, console.err):
            monkeypatch.setattr(each, "_width", width)

    return wide


def check(name: str, width: int, text: str) -> None:
    text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= width
    path = SHOWN / f"{name}-{width}.txt"
    if os.environ.get("EDGEC_SHOW_AGAIN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def timed(report: Report, folder: Path, name: str, ms: float, seed: int) -> Path:
    """The report with 400 runs of its chosen candidate."""
    taken = samples(seed, ms=ms)
    (chosen,) = (each for each in report.candidates if each.chosen)
    assert chosen.latency is not None
    update = {**vars(summary(taken)), "samples_ms": tuple(taken), "iterations": len(taken)}
    other = chosen.model_copy(update={"latency": chosen.latency.model_copy(update=update)})
    path = folder / name
    path.write_text(
        report.model_copy(update={"candidates": tuple(other if each is chosen else each for each in report.candidates)}).to_json()
    )
    return path


@pytest.mark.parametrize("width", [80, 120])
def test_a_build_s_end(
    at: Callable[[int], None], report: Report, headed: Report, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    at(width)
    for each, name in ((report, "build"), (headed, "build-heads")):
        build._print(SimpleNamespace(report=each, directory=Path("robot.edgec"), reused=False))  # type: ignore[arg-type]
        check(name, width, capsys.readouterr().out)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [2, 6])
def test_a_comparison(
    at: Callable[[int], None], say: Said, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, count: int
) -> None:
    monkeypatch.chdir(tmp_path)
    at(width)
    paths = [timed(report, tmp_path, f"{'abcdef'[index]}.json", 40 - 5 * index, index) for index in range(count)]
    code, out, err = say("compare", *(path.name for path in paths))
    assert code == 0, err
    check(f"compare-{count}", width, out)
    at(400)
    words = set(say("compare", *(path.name for path in paths))[1].split())
    assert set(out.split()) - words <= {"no", "room", "at", "columns", str(width), "for"} | {f"{word}," for word in words}


@pytest.mark.parametrize("width", [80, 120])
def test_targets(at: Callable[[int], None], say: Said, width: int) -> None:
    at(width)
    code, out, _ = say("targets")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:5]] == ["apple", "cpu", "jetson", "rtx"], "a line a family"
    assert max(map(len, out.splitlines())) <= width
    code, listed, _ = say("targets", "list", "jetson")
    assert code == 0
    check("targets-jetson", width, listed)
    assert "cpu-" not in listed
    code, every, _ = say("targets", "list")
    at(400)
    for narrow, command in ((out, ("targets",)), (listed, ("targets", "list", "jetson")), (every, ("targets", "list"))):
        assert set(narrow.split()) - set(say(*command)[1].split()) == set(), "nothing breaks inside a word"


def test_colours_mean_something(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rich.text import Text

    from edgec.report.shipping import ships_parts
    from edgec.report.table import CHOSEN, COLOURS, candidates_table

    target = io.StringIO()
    made = type(console.out)(file=target, force_terminal=True, color_system="standard", width=120)
    made.print(candidates_table(report, width=120))
    made.print(Text.assemble(*((text, COLOURS[meaning]) for text, meaning in ships_parts(report))))
    lines = target.getvalue().splitlines()
    assert [line.startswith("\x1b[1;32m") for line in lines[:5]] == [False, False, True, False, False]
    assert "\x1b[32m39.6 frames a second" in target.getvalue()
    assert CHOSEN == "bold green"
    assert {COLOURS[verdict] for verdict in ("yes", "no", "not known")} == {"green", "red", "yellow"}


def test_a_family_that_is_none(say: Said) -> None:
    code, out, err = say("targets", "list", "tpu")
    assert (code, out) == (5, "")
    assert "apple, cpu, jetson, rtx" in err


def test_the_glossary(say: Said) -> None:
    code, out, _ = say("glossary")
    assert code == 0
    for word in ("fidelity", "worst 1 %", "reference work", "would notice", "not judged", "simulates", "all but the last K"):
        assert f"\n{word}" in f"\n{out}"
    for asked, found in (("patch p01", "worst 1 %"), ("Yardstick", "reference work"), ("worst 1 %", "worst 1 %")):
        assert say("glossary", *asked.split())[1].startswith(found)
    code, out, err = say("glossary", "flux")
    assert (code, out) == (2, "")
    assert "fidelity" in err
    for command in ("build", "compare", "report", "targets"):
        assert "`edgec glossary`" in say(command, "--help")[1]
    assert run(["--help"]) == 0
