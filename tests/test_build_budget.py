"""A build whose static int8 is beyond the budget: the search, from end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgec.building import build
from edgec.errors import FidelityError
from edgec.fidelity.metrics import worst
from edgec.records.explanation import EXPLANATION, Explanation
from edgec.request import BuildRequest
from edgec.verifying import verify
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures
from tests.support.models import SMALL


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    folder = tmp_path_factory.mktemp("budget")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    save_profile(folder / "ort.toml", {"fp32": ["onnxruntime"], "int8": ["onnxruntime"]})
    return BuildRequest(
        str(folder / "checkpoint"),
        target=str(folder / "ort.toml"),
        calibration=str(folder / "frames"),
        size=SMALL,
        iterations=5,
        precision="int8",
        min_fidelity=0.5,
        output=folder / "static.edgec",
    )


@pytest.mark.parametrize("effort", ["quick", "full"])
def test_int8_ships_with_the_fewest_exceptions_that_keep_the_budget(ask: BuildRequest, tmp_path: Path, effort: str) -> None:
    static = build(ask).report.candidates[0]
    assert static.fidelity is not None
    budget = 1 - (1 - worst(static.fidelity)) / 2
    result = build(replace(ask, min_fidelity=budget, effort=effort, output=tmp_path / "kept.edgec"))  # type: ignore[arg-type]
    chosen = next(candidate for candidate in result.report.candidates if candidate.chosen)
    assert chosen.fidelity is not None
    assert worst(chosen.fidelity) >= budget
    names = [candidate.name for candidate in result.report.candidates]
    assert [name for name in names if "budget" in name], names
    explanation = Explanation.model_validate_json((result.directory / EXPLANATION).read_bytes())
    (exception,) = explanation.exceptions
    assert exception.precision == "fp32"
    assert exception.lost_with is not None
    if effort == "full":
        assert exception.lost_without is not None
        assert exception.lost_with < exception.lost_without
    else:
        assert chosen.name.startswith("onnxruntime-int8-budget-")
        assert exception.lost_without is None, "quick builds do not try the plan without exceptions"
        int8 = [operation for operation in explanation.operations if operation.precision == "int8"]
        assert int8, "most of it stays in int8"
        assert {operation.name for operation in int8}.isdisjoint(exception.operations)
    assert all(output.passed for output in verify(result.directory).outputs)


def test_the_shipped_candidate_is_measured_in_full_after_a_build_with_another_budget(ask: BuildRequest, tmp_path: Path) -> None:
    """Who goes on after the first heat depends on the budget: a cached latency of one must not serve the other."""
    for number, budget in enumerate((0.5, 1 - 1e-6)):
        asked = replace(ask, precision="auto", iterations=25, min_fidelity=budget, output=tmp_path / f"{number}.edgec")
        chosen = next(candidate for candidate in build(asked).report.candidates if candidate.chosen)
        assert chosen.latency is not None
        assert chosen.latency.iterations == 25
    assert chosen.precision == "fp32"


def test_a_budget_beyond_int8_is_refused_with_the_best_figures(ask: BuildRequest, tmp_path: Path) -> None:
    with pytest.raises(FidelityError) as caught:
        build(replace(ask, min_fidelity=1.0, output=tmp_path / "none.edgec"))
    assert any("onnxruntime-int8-but-last-" in line for line in caught.value.evidence)
    assert not (tmp_path / "none.edgec").exists()
