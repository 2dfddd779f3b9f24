"""What a candidate may lose and still ship."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from edgec.errors import RequestError
from edgec.fidelity.metrics import worst
from edgec.fidelity.tasks import TaskBudgets, shortfalls
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
    bounds the decisions of the other heads. Raises `RequestError` for a bound that nothing can keep."""

    min_fidelity: float
    tasks: TaskBudgets = field(default_factory=TaskBudgets)

    def __post_init__(self) -> None:
        if not 0 < self.min_fidelity <= 1:
            raise RequestError(
                "The minimum fidelity must be above 0 and up to 1.", evidence=f"asked for: --min-fidelity {self.min_fidelity:g}"
            )

    def lost(self, fidelity: StageFidelity) -> tuple[str, ...]:
        """Sentences about what is beyond the budget; empty if nothing is."""
        sentences = []
        if fidelity.cosines and worst(fidelity) < self.min_fidelity:
            sentences.append(f"worst cosine {worst(fidelity):.6f} (at least {self.min_fidelity:g})")
        return (*sentences, *shortfalls(fidelity.tasks, self.tasks, self.min_fidelity))

    def said(self) -> dict[str, float | None]:
        """Every bound, by the names that reports use."""
        return {"min_fidelity": self.min_fidelity, **asdict(self.tasks)}

    def __str__(self) -> str:
        tasks = self.tasks
        words = [
            f"worst cosine at least {self.min_fidelity:g}",
            *([f"top class at least {tasks.min_agreement:g}"] if tasks.min_agreement is not None else []),
            *([f"mean IoU at least {tasks.min_iou:g}"] if tasks.min_iou is not None else []),
            *([f"depth error at most {tasks.max_depth_error:g}"] if tasks.max_depth_error is not None else []),
        ]
        return ", ".join(words)

    def keeps(self, fidelity: StageFidelity) -> bool:
        """Whether nothing is beyond the budget."""
        return not self.lost(fidelity)
