"""What a candidate may lose and still ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from edgec.errors import RequestError
from edgec.fidelity.metrics import worst, worst_of
from edgec.fidelity.tasks import TaskBudgets, shortfalls
from edgec.onboard.figures import kept
from edgec.records.fidelity import StageFidelity

DEFAULTS = TaskBudgets(min_agreement=0.99, min_iou=0.97, max_depth_error=0.02)
"""The bounds of heads where a user gives none, with features or without: a bound on features bounds nothing that a head makes of
them.

As the features' .99, each says how far from float32 what ships may be before somebody should look. One frame in a hundred may get
another class. A mask of 66 pixels across that is moved by one pixel has an IoU of .97 (65 / 67), and a patch is 16 pixels wide.
Two percent of a depth is what data sheets of stereo cameras promise at two metres.
"""


@dataclass(frozen=True)
class Budget:
    """`min_fidelity` bounds the worst of the features' three cosines, and the mean cosine of heads that give vectors; `tasks`
    bounds the decisions of the other heads. `elsewhere` bounds the features' cosines away from home (`edgec.fidelity.elsewhere`);
    None for the same bound as at home: whoever needs the features at .99 needs them so where the robot goes.

    Raises `RequestError` for a bound that nothing can keep."""

    min_fidelity: float
    tasks: TaskBudgets = field(default_factory=TaskBudgets)
    elsewhere: float | None = None

    def __post_init__(self) -> None:
        for option, bound in (("--min-fidelity", self.min_fidelity), ("--min-fidelity-elsewhere", self.elsewhere)):
            if bound is not None and not 0 < bound <= 1:
                raise RequestError("The minimum fidelity must be above 0 and up to 1.", evidence=f"asked for: {option} {bound:g}")

    @property
    def min_fidelity_elsewhere(self) -> float:
        """The bound away from home."""
        return self.min_fidelity if self.elsewhere is None else self.elsewhere

    def lost(self, fidelity: StageFidelity, elsewhere: Sequence[StageFidelity] = ()) -> tuple[str, ...]:
        """Sentences about what is beyond the budget; empty if nothing is."""
        sentences = []
        if fidelity.cosines and worst(fidelity) < self.min_fidelity:
            sentences.append(f"fidelity {kept(worst(fidelity))} (at least {self.min_fidelity:g})")
        lowest = worst_of(elsewhere)
        if lowest is not None and worst(lowest) < self.min_fidelity_elsewhere:
            bound = f"(at least {self.min_fidelity_elsewhere:g})"
            sentences.append(f"fidelity elsewhere ({lowest.stage}) {kept(worst(lowest))} {bound}")
        return (*sentences, *shortfalls(fidelity.tasks, self.tasks, self.min_fidelity))

    def said(self) -> dict[str, float | None]:
        """Every bound that a board gets, by the names that reports use: it judges by golden frames, which are from home."""
        return {"min_fidelity": self.min_fidelity, **asdict(self.tasks)}

    def __str__(self) -> str:
        tasks = self.tasks
        words = [
            f"fidelity at least {self.min_fidelity:g}",
            *([f"elsewhere at least {self.elsewhere:g}"] if self.elsewhere is not None else []),
            *([f"top class at least {tasks.min_agreement:g}"] if tasks.min_agreement is not None else []),
            *([f"mean IoU at least {tasks.min_iou:g}"] if tasks.min_iou is not None else []),
            *([f"depth error at most {tasks.max_depth_error:g}"] if tasks.max_depth_error is not None else []),
        ]
        return ", ".join(words)

    def keeps(self, fidelity: StageFidelity, elsewhere: Sequence[StageFidelity] = ()) -> bool:
        """Whether nothing is beyond the budget."""
        return not self.lost(fidelity, elsewhere)
