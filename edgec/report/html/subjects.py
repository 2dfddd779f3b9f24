"""What a page is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgec.records.report import YARDSTICK, CandidateFigures, Report

if TYPE_CHECKING:
    from edgec.report.maps import Headed
    from edgec.report.pictures import Compared

NO_ARTEFACT = "A report alone has no features to draw: name the artefact's directory to see them here."


@dataclass(frozen=True)
class Subject:
    """One report. `name` tells it from the others on the page. `pictures` are the features of an artefact's golden frames; where
    there are none, `without_pictures` says why. `heads` is what its heads make of these frames."""

    name: str
    report: Report
    pictures: Compared | None = None
    without_pictures: str = NO_ARTEFACT
    heads: Headed | None = None


def candidates_of(report: Report) -> tuple[CandidateFigures, ...]:
    """Those that are models: a benchmark's reference work stands among them, and says nothing of any model."""
    return tuple(each for each in report.candidates if each.name != YARDSTICK)
