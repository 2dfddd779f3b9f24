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
     ├── TargetError                5   no such target, or it cannot be used here
     │    └── MissingPackage        5   a runtime, or a package of one of edgec's extras, is not installed
     ├── ExportError                6   the hub graph differs from PyTorch, or breaks its contract
     ├── FidelityError              7   no candidate keeps the features within the budget
     ├── ArtefactError              8   the artefact is damaged, incomplete, or in the way
     ├── VerificationError          9   the artefact computes something else than was recorded
     ├── RuntimeFailure            10   a runtime failed to load or run a model
     ├── DiskFull                  11   no room left on the board's disk
     ├── BoardRuntimeMissing       12   the runtime on the board is missing, or of a version that the artefact is not for
     ├── BoardRuntimeHung          13   the runtime on the board said nothing for too long and was ended
     ├── NothingToDo               14   nothing is deployed, to activate, or to roll back to
     ├── Busy                      15   another run is at work on the board
     ├── BoardError                16   the board cannot be reached, is lost, or does not behave as one
     ├── Regression                17   `compare --fail-on-regression` found one
     ├── UnsupportedOperation      18   a head has an operation that the target's runtime, or edgec's lowering to it, has not
     ├── Untrusted                 19   not signed, not by a trusted key, or not as it was signed
     ├── Outdated                  20   signed, but expired, older than asked for, or another product
     ├── RolloutHalted             21   a rollout was halted: boards refused the release, or regressed with it
     └── Undecided                 22   `--fail-on-undecided`: something could not be judged, or not be checked

The programs on boards and Macs use the codes 5 and 8 to 15, too, with the same meaning. Exit code 130 is Ctrl-C. Any other
exception is a bug in edgec, and shows as a traceback with exit code 70.
"""

from __future__ import annotations

from collections.abc import Sequence


class EdgecError(Exception):
    """What went wrong, the evidence for it, and what the user can do.

    `what` is one sentence. `evidence` are the facts behind it: names, numbers, paths. `remedy` says what to do next.
    `str(error)` is the whole text, one fact per line.
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
    """An option, a size, a name or a path that cannot be used; or options that do not go together."""

    exit_code = 2


class InputSizeError(RequestError):
    """An input size that is not a multiple of the model's stride, or that the model cannot take."""


class CheckpointError(EdgecError):
    """A checkpoint that cannot be used; each subclass names one reason."""

    exit_code = 3


class HeadError(CheckpointError):
    """A head's file that cannot be read, or a head that does not fit the backbone."""


class UnreadableCheckpoint(CheckpointError):
    """A file that is not a checkpoint, is truncated or empty."""


class UnsafeCheckpoint(CheckpointError):
    """A pickle that would run code when it is loaded. Nothing in it was executed."""


class UnknownForm(CheckpointError):
    """Weights whose names match none of the forms in which DINOv3 checkpoints are known."""


class AmbiguousCheckpoint(CheckpointError):
    """Several sets of weights, or statements that contradict each other. The message says how to choose."""


class MismatchedWeights(CheckpointError):
    """A tensor that is missing, of another shape, or too many, so that the model would compute something else."""


class NonFiniteWeights(CheckpointError):
    """NaN or infinity among the weights."""


class CalibrationError(EdgecError):
    """Frames that cannot be read, or too few of them."""

    exit_code = 4


class TargetError(EdgecError):
    """An unknown target, a profile that is not one, or a target that cannot be built for or run here."""

    exit_code = 5


class MissingPackage(TargetError):
    """A package that is not installed: a runtime, or another that an extra of edgec brings. The remedy is the line that installs
    it."""


class ExportError(EdgecError):
    """A hub graph that computes something else than PyTorch, or breaks the hub's contract."""

    exit_code = 6


class FidelityError(EdgecError):
    """No candidate keeps the features, or what the heads decide, within the user's budget."""

    exit_code = 7


class ArtefactError(EdgecError):
    """An artefact that is damaged, incomplete or contradictory, or whose place is taken."""

    exit_code = 8


class VerificationError(EdgecError):
    """An artefact that computes something else than was recorded when it was built."""

    exit_code = 9


class RuntimeFailure(EdgecError):
    """A runtime that fails to load or run a model."""

    exit_code = 10


class DiskFull(EdgecError):
    """No room on a board's disk, or a Mac's; what was there before is not lost."""

    exit_code = 11


class BoardRuntimeMissing(EdgecError):
    """No runtime on the board that works (a Jetson: no trtexec; an RTX machine: not NVIDIA's packages, or no GPU; a CPU board:
    neither OpenVINO nor ONNX Runtime), or none of a version that the artefact is for."""

    exit_code = 12


class BoardRuntimeHung(EdgecError):
    """The runtime on a board printed nothing for too long and was ended."""

    exit_code = 13


class NothingToDo(EdgecError):
    """Nothing is deployed, verified, or left to roll back to."""

    exit_code = 14


class Busy(EdgecError):
    """Another run holds the board's folder, or the sweep's."""

    exit_code = 15


class BoardError(EdgecError):
    """A board that cannot be reached, is lost, or answers as no board does."""

    exit_code = 16


class Regression(EdgecError):
    """A comparison in which something got worse by more than noise, with `--fail-on-regression`."""

    exit_code = 17


class UnsupportedOperation(EdgecError):
    """An operation of a head that the target cannot run; found before anything is exported."""

    exit_code = 18


class Untrusted(EdgecError):
    """A bundle or an artefact that is not signed, not by a trusted key, or not as it was signed."""

    exit_code = 19


class Outdated(EdgecError):
    """A bundle or an artefact that is signed as it should be, but expired, older than asked for, or another product."""

    exit_code = 20


class RolloutHalted(EdgecError):
    """A rollout to many boards that was halted, because boards refused the release, or did worse with it than it says itself."""

    exit_code = 21


class Undecided(EdgecError):
    """Something that a comparison could not judge, or that could not be checked, with `--fail-on-undecided`."""

    exit_code = 22


def of_exit_code(code: int) -> type[EdgecError]:
    """The error class with this exit code, for what a program on a board ended with. `EdgecError` if no other class has it."""
    return next((kind for kind in EdgecError.__subclasses__() if kind.exit_code == code), EdgecError)
