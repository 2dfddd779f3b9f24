"""Every error that edgec raises on purpose, and the exit code that the command line gives it.

    EdgecError                      1   something edgec refuses to go on with
     ├── RequestError               2   the request itself is wrong: an option, a size, a name
     │    └── InputSizeError        2   the size is not a multiple of the model's stride
     ├── CheckpointError            3   the checkpoint cannot be used
     │    ├── UnreadableCheckpoint  3   not a checkpoint, truncated, empty
     │    ├── UnsafeCheckpoint      3   a pickle that wants to run code; it was not executed
     │    ├── UnknownForm           3   the weights' names are of no known DINOv3 form
     │    ├── AmbiguousCheckpoint   3   several sets of weights, or statements that contradict each other; it says how to choose
     │    ├── MismatchedWeights     3   a tensor is missing, extra in a way that matters, or of a wrong shape
     │    ├── NonFiniteWeights      3   NaN or Inf among the weights
     │    └── HeadError             3   a head cannot be used, or not with this backbone
     ├── CalibrationError           4   the frames cannot be used
     ├── TargetError                5   no such target, or its runtime is not installed
     ├── ExportError                6   the hub graph differs from PyTorch, or breaks its contract
     ├── FidelityError              7   no candidate keeps the features within the budget
     ├── ArtefactError              8   the artefact is damaged, incomplete, or in the way
     ├── VerificationError          9   the artefact computes something else than was recorded
     ├── RuntimeFailure            10   a runtime failed to load or run a model
     ├── DiskFull                  11   no room left on the board's disk
     ├── NoTensorRT                12   trtexec is missing, or of a version that the artefact cannot be built with
     ├── TrtexecHung               13   trtexec said nothing for too long and was ended
     ├── NothingToDo               14   nothing is deployed, to activate, or to roll back to
     ├── Busy                      15   another run is at work on the board
     ├── BoardError                16   the board cannot be reached, is lost, or does not behave as one
     ├── Regression                17   `compare --fail-on-regression` found one
     └── UnsupportedOperation      18   a head has an operation that the target's runtime, or edgec's lowering to it, has not

The programs on boards and Macs have the codes of 5 and from 8 to 15, too, and they mean the same there. Exit code 130 is Ctrl-C.
Anything else that escapes is a bug in edgec, and shows as a traceback with exit code 70.
"""

from __future__ import annotations

from collections.abc import Sequence


class EdgecError(Exception):
    """What went wrong, the evidence for it, and what the user can do.

    `what` is one sentence. `evidence` are the facts that it rests on: names, numbers, paths. `remedy` says what to do next.
    `str(error)` is the whole text, one fact a line.
    """

    exit_code = 1

    def __init__(self, what: str, *, evidence: Sequence[str] | str = (), remedy: str = "") -> None:
        self.what = what
        self.evidence = (evidence,) if isinstance(evidence, str) else tuple(evidence)
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what, *(f"  {fact}" for fact in self.evidence)]
        if self.remedy:
            lines.append(f"  To do: {self.remedy}")
        return "\n".join(lines)


class RequestError(EdgecError):
    exit_code = 2


class InputSizeError(RequestError):
    pass


class CheckpointError(EdgecError):
    exit_code = 3


class HeadError(CheckpointError):
    pass


class UnreadableCheckpoint(CheckpointError):
    pass


class UnsafeCheckpoint(CheckpointError):
    pass


class UnknownForm(CheckpointError):
    pass


class AmbiguousCheckpoint(CheckpointError):
    pass


class MismatchedWeights(CheckpointError):
    pass


class NonFiniteWeights(CheckpointError):
    pass


class CalibrationError(EdgecError):
    exit_code = 4


class TargetError(EdgecError):
    exit_code = 5


class ExportError(EdgecError):
    exit_code = 6


class FidelityError(EdgecError):
    exit_code = 7


class ArtefactError(EdgecError):
    exit_code = 8


class VerificationError(EdgecError):
    exit_code = 9


class RuntimeFailure(EdgecError):
    exit_code = 10


class DiskFull(EdgecError):
    exit_code = 11


class NoTensorRT(EdgecError):
    exit_code = 12


class TrtexecHung(EdgecError):
    exit_code = 13


class NothingToDo(EdgecError):
    exit_code = 14


class Busy(EdgecError):
    exit_code = 15


class BoardError(EdgecError):
    exit_code = 16


class Regression(EdgecError):
    exit_code = 17


class UnsupportedOperation(EdgecError):
    exit_code = 18


def of_exit_code(code: int) -> type[EdgecError]:
    """The error with this exit code: what a program on a board ended with, it ends with here. `EdgecError` if no other has it."""
    return next((kind for kind in EdgecError.__subclasses__() if kind.exit_code == code), EdgecError)
