"""Each option once, as a decorator; commands stack those that they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from edgec.errors import RequestError
from edgec.model.spec import Size
from edgec.paths import is_special, usable_path

if TYPE_CHECKING:
    from edgec.frames.raw import RawFormat

MOST_THREADS = 4096
MOST_FRAMES = 2**31 - 1
MOST_ITERATIONS = 1_000_000


class PathType(click.Path):
    """A path that a file can have, whether there is one or not: what `edgec.paths.usable_path` refuses is an error of usage.
    Every option or argument that is a path has this type; `written` if edgec writes it."""

    def __init__(self, *, written: bool = False, **settings: Any) -> None:
        super().__init__(path_type=Path, **settings)
        self.written = written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Fails for what no file can be called, and for a device, pipe or socket that would be written."""
        path = _usable(self, value, param, ctx)
        if self.written and is_special(path):
            self.fail(f"{str(path)!a} is a device, a pipe or a socket", param, ctx)
        return super().convert(path, param, ctx)


class Completed(click.ParamType[str]):
    """Text that a shell completes as a file's name, and by `names` where there are some."""

    def __init__(self, names: Callable[[], Iterable[str]] = tuple) -> None:
        self._names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so; if there are none, the shell's own completion of files."""
        named = [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]
        return named or [CompletionItem(incomplete, type="file")]


class KeyType(Completed):
    """A file that is there, or a PKCS#11 URI. It stays as it was typed."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Fails for what is neither."""
        if not str(value).startswith("pkcs11:"):
            PathType(exists=True, dir_okay=False).convert(value, param, ctx)
        return str(value)


class ReferenceType(Completed):
    """A name that edgec knows, or a path: of a checkpoint, frames, a target. It stays as it was typed."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Fails for what is neither a name nor a path."""
        _usable(self, value, param, ctx)
        return str(value)


def _usable(kind: click.ParamType[Any], value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
    try:
        return usable_path(value)
    except RequestError as error:
        kind.fail(error.evidence[0], param, ctx)


class RealRange(click.FloatRange):
    """Finite numbers in a range: click accepts `nan` in any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails for `nan` and infinity too."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class SizeType(click.ParamType[Size]):
    """A frame's size in pixels: N, or HxW."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Size:
        """By `Size.parse`."""
        if isinstance(value, Size):
            return value
        try:
            return Size.parse(value)
        except RequestError as error:
            self.fail(str(error), param, ctx)


class RawFormatType(click.ParamType["RawFormat"]):
    """The format of raw dumps of frames."""

    name = "format"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> RawFormat:
        """By `edgec.frames.raw.parse`."""
        from edgec.frames import raw

        if isinstance(value, raw.RawFormat):
            return value
        try:
            return raw.parse(value)
        except RequestError as error:
            self.fail(f"{' '.join((error.what, *error.evidence))}: {error.remedy}", param, ctx)


class LayersType(click.ParamType[tuple[int, ...]]):
    """Numbers of blocks, separated by commas."""

    name = "layers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Sorted, each once."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(sorted({int(part) for part in value.split(",") if part.strip()}))
        except ValueError:
            self.fail(f"{value!r} is not a list of block numbers, as in 2,5,8,11", param, ctx)


def _targets() -> list[str]:
    from edgec.backends.profiles import list_profiles

    profiles = list_profiles()
    return sorted({*(profile.name for profile in profiles), *(profile.family for profile in profiles)})


checkpoint = click.argument("checkpoint", type=ReferenceType())
recipe_or_checkpoint = click.argument("checkpoint", type=ReferenceType(), required=False)
weights = click.option(
    "--weights",
    metavar="NAME",
    help="Which of several sets of weights in CHECKPOINT to use: student, teacher, ema, … An error lists them.",
)
config = click.option(
    "--config",
    type=ReferenceType(),
    metavar="FILE|none",
    help="The only config.json that counts for what the weights do not say; none: no file counts.",
)
against = click.option(
    "--against", is_flag=True,
    help="Also run the class of transformers or timm that CHECKPOINT's folder names, and compare on real frames.",
)  # fmt: skip
artefact = click.argument("artefact", type=PathType())
input_size = click.option(
    "--input-size", "size", type=SizeType(), default="224", show_default=True, metavar="N|HxW", help="The frame's size in pixels."
)
input_sizes = click.option(
    "--input-size", "sizes", type=SizeType(), multiple=True, default=("224",), metavar="N|HxW",
    help="The frame's size in pixels; for Apple's devices several may be given, and one package takes them all.  [default: 224]",
)  # fmt: skip
batch = click.option("--batch", type=click.IntRange(1, 4096), default=1, show_default=True, help="Frames in one run.")
target = click.option(
    "--target", type=ReferenceType(_targets), default="cpu", show_default=True, help="A target's name, or a profile's TOML file."
)
calibration = click.option(
    "--calibration",
    type=ReferenceType(),
    metavar="SET",
    help="Frames to calibrate on and judge by: a folder, video, ROS bag, list, manifest or a shipped name.",
)
validation = click.option(
    "--validation",
    type=ReferenceType(),
    metavar="SET",
    help="Frames to judge by, instead of a share of the calibration set.",
)
topic = click.option("--topic", default="", metavar="NAME", help="The camera's topic, in bags with several.")
raw_format = click.option(
    "--raw-format", "raw", type=RawFormatType(), metavar="FORMAT",
    help="How raw dumps (.nv12, .yuyv, .raw, …) are stored, as in nv12,width=640,height=480.",
)  # fmt: skip
precision = click.option(
    "--precision", type=click.Choice(["auto", "fp32", "fp16", "bf16", "int8", "fp8", "w8", "w6", "w4"]),
    default="auto", show_default=True, help="auto ships the fastest that keeps the features.",
)  # fmt: skip
candidate = click.option(
    "--candidate", metavar="NAME",
    help="Ship this candidate of the report, as openvino-int8-but-last-6, instead of choosing by measurement.",
)  # fmt: skip
min_fidelity = click.option(
    "--min-fidelity", type=float, default=0.99, show_default=True,
    help="Least fidelity that may ship: the lowest cosine to float32's features of CLS, patches, and their worst 1 %.",
)  # fmt: skip
min_fidelity_elsewhere = click.option(
    "--min-fidelity-elsewhere", type=float, metavar="COSINE",
    help="The same on frames of other places, and on dark, bright, blurred, noisy … ones.  [default: --min-fidelity]",
)  # fmt: skip
foreign = click.option(
    "--foreign", metavar="SET", help="Frames of other places than the calibration's, to judge by.  [default: edgec's pictures]"
)
heads = click.option(
    "--head", "heads", multiple=True, metavar="NAME=PATH",
    help="A head to build in, .safetensors, .pth or .onnx: its output is called NAME. May be given more than once.",
)  # fmt: skip
features = click.option(
    "--features/--no-features",
    default=True,
    show_default=True,
    help="Whether raw features are outputs beside those of heads.",
)
min_agreement = click.option(
    "--min-agreement", type=float, metavar="SHARE",
    help="Share of the frames on which each classifier must choose the class that it does in float32.  [default: 0.99]",
)  # fmt: skip
min_iou = click.option(
    "--min-iou", type=float, metavar="IOU",
    help="Mean IoU of each segmentation's labels with those that it gives in float32.  [default: 0.97]",
)  # fmt: skip
max_depth_error = click.option(
    "--max-depth-error", type=float, metavar="SHARE",
    help="Mean relative difference of each depth map to the float32 one.  [default: 0.02]",
)  # fmt: skip
effort = click.option(
    "--effort", type=click.Choice(["quick", "full"]), default="quick", show_default=True,
    help="full also measures what int8 costs the features operation by operation, and tries more plans.",
)  # fmt: skip
registers = click.option("--registers", is_flag=True, help="Also output the register tokens.")
layers = click.option(
    "--layers", type=LayersType(), default=(), metavar="K,K,…", help="Also output the patches after these blocks, counted from 0."
)
output = click.option("-o", "--output", type=PathType(written=True), metavar="DIR", help="Where the artefact goes.")
engine = click.option(
    "--engine", is_flag=True,
    help="For NVIDIA's GPUs: also build, verify and measure an engine for this machine's own GPU, into DIR.engine.",
)  # fmt: skip
force = click.option("--force", is_flag=True, help="Replace an artefact that is there.")
threads = click.option(
    "--threads", type=click.IntRange(1, MOST_THREADS), help="Threads to run with.  [default: the usable cores]"
)
iterations = click.option(
    "--iterations",
    type=click.IntRange(5, MOST_ITERATIONS),
    default=100,
    show_default=True,
    help="Recorded runs of each candidate.",
)
patience = click.option(
    "--patience", type=RealRange(0, 86_400), default=0.0, metavar="SECONDS",
    help="How long measuring waits, at most, until other work leaves it its cores.  [default: it says so, and measures]",
)  # fmt: skip
seed = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="For random weights and for choosing frames."
)


def _boards_or_the_recipes(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    if given or context.resilient_parsing:
        return given
    from edgec.recipes.file import here

    recipe = here()
    if recipe is None or not recipe.boards:
        raise click.MissingParameter(ctx=context, param=parameter)
    return recipe.boards


boards = click.argument("boards", nargs=-1, metavar="BOARD…", callback=_boards_or_the_recipes)
port = click.option("--port", type=click.IntRange(1, 65535), help="The ssh server's port, where the board names none.")
identity = click.option(
    "--identity", type=PathType(exists=True, dir_okay=False), metavar="FILE",
    help="The private key to use, as with ssh -i.",
)  # fmt: skip
directory = click.option(
    "--dir", "directory", metavar="DIR", help="Where things lie on the board.  [default: ~/.local/share/edgec]"
)
ssh_option = click.option(
    "--ssh-option", multiple=True, metavar="NAME=VALUE", help="Passed to ssh with -o; may be given more than once."
)


def connection(command: Callable[..., Any]) -> Callable[..., Any]:
    """How boards are reached: `port`, `identity`, `directory` and `ssh_option`."""
    return port(identity(directory(ssh_option(command))))


_trust: dict[str, Any] = {
    "type": PathType(exists=True, dir_okay=False),
    "multiple": True,
    "metavar": "KEY.pub",
    "help": "A public key or a certificate, in PEM, whose holder must have signed. May be given more than once.",
}
trust = click.option("--trust", required=True, **_trust)
trust_if_given = click.option("--trust", **_trust)
measurers = click.option(
    "--trust-report", "measurers", type=PathType(exists=True, dir_okay=False), multiple=True, metavar="KEY.pub",
    help="A further one, who may have signed the report, and nothing else.",
)  # fmt: skip
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for scripts.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Show what the tools underneath print.")
