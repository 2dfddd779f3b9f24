"""`edgec explain`: what runs in which type and why, and what that did to the features."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli import options
from edgec.cli.console import err, out
from edgec.cli.kernels import show_kernels

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgec.artefact.reading import OpenArtefact
    from edgec.report.explaining import Explained


@click.command()
@options.artefact
@click.option(
    "--pictures", type=options.PathType(written=True, file_okay=False), metavar="DIR",
    help="Draw patch features and heads' outputs of the golden frames there, float32 beside shipped.",
)  # fmt: skip
@click.option(
    "--frames",
    type=options.ReferenceType(),
    metavar="SET",
    help="Draw the features of up to six frames of this set instead. Needs --checkpoint, and PyTorch.",
)
@click.option(
    "--checkpoint", type=options.ReferenceType(), metavar="CHECKPOINT", help="The checkpoint that ARTEFACT was built from."
)
@click.option(
    "--kernels", is_flag=True,
    help="Show the kernels that NVIDIA's compiler makes of a graph for TensorRT. Needs `pip install 'edgec[nvidia]'`.",
)  # fmt: skip
@click.option("--sm", metavar="SM", help="GPU to compile for.  [default: 86, which stands for Orin]")
@options.weights
@options.config
@options.as_json
def explain(
    artefact: Path,
    pictures: Path | None,
    frames: str | None,
    checkpoint: str | None,
    kernels: bool,
    sm: str | None,
    weights: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Say which operations of ARTEFACT run in which type, and why.

    What each exception from int8 cost and bought, which operations are the most sensitive, where the massive activations are,
    at which stage of the build fidelity was first lost, and what heads keep of float32's decisions. Checks the hash of every
    file first.
    """
    from edgec.artefact.reading import open_artefact
    from edgec.report.explaining import read_explained

    _check_options(pictures, frames, checkpoint)
    if kernels or sm:
        show_kernels(open_artefact(artefact), sm, as_json=as_json)
        return
    opened = open_artefact(artefact)
    explained = read_explained(opened)
    drawn = () if pictures is None else _draw(opened, pictures, frames, checkpoint, weights=weights, config=config)
    if as_json:
        click.echo(json.dumps(_explanation_json(artefact, explained, drawn), indent=2))
    else:
        _print(explained)
        if drawn:
            out.print(f"\n{len(drawn)} pictures in {pictures}", markup=False, soft_wrap=True)


def _check_options(pictures: Path | None, frames: str | None, checkpoint: str | None) -> None:
    from edgec.errors import RequestError

    if pictures is None and (frames or checkpoint):
        raise RequestError("--frames and --checkpoint say what to draw, but not where.", remedy="add --pictures DIR")
    if (frames is None) != (checkpoint is None):
        raise RequestError(
            "--frames and --checkpoint belong together.",
            evidence="an artefact holds float32 features of its golden frames only; for others the float32 model must be run",
            remedy="give both, or neither to draw the golden frames",
        )


def _draw(
    opened: OpenArtefact, folder: Path, frames: str | None, checkpoint: str | None, **choice: str | None
) -> tuple[Path, ...]:
    from edgec.extras import require
    from edgec.records.reading import printable

    require("pictures" if checkpoint is None else "build", "Drawing features")
    from edgec.report.pictures import write_pages, write_pictures
    from edgec.running.compared import features_on

    manifest = opened.manifest
    height, width = manifest.input.shape[1:3]
    title = printable(f"{manifest.checkpoint.name} at {height}x{width}, shipped: {manifest.precision} in {manifest.runtime}")
    with err.status("drawing"):
        if frames is None or checkpoint is None:
            return write_pages(_golden_pages(opened, title), folder)
        compared, skipped = features_on(opened, frames, checkpoint, **choice)
        for name, reason in skipped:
            _print_note(f"frame left out: {printable(name)}: {printable(reason)}")
        if manifest.heads:
            _print_note(
                "heads are not drawn: an artefact holds their float32 outputs for its golden frames only; leave out --frames"
            )
        return write_pictures(compared, title, folder)


def _golden_pages(opened: OpenArtefact, title: str) -> dict[str, Image]:
    from edgec.report.head_pictures import head_sheets
    from edgec.report.pictures import feature_pages
    from edgec.running.compared import gives_features, golden_features, golden_heads

    heads = golden_heads(opened)
    pages: dict[str, Image] = {}
    if heads is None or gives_features(opened):
        pages |= feature_pages(golden_features(opened), title)
    else:
        _print_note("features are not drawn: the artefact gives only its heads' outputs")
    if heads is not None:
        pages |= dict(head_sheets(heads, title))
        for reason in heads.undrawn:
            _print_note(reason)
    return pages


def _print_note(text: str) -> None:
    err.print(text, markup=False, soft_wrap=True)


def _print(explained: Explained) -> None:
    from edgec.report import explaining
    from edgec.report.table import heads_table

    explanation = explained.explanation
    _say(explaining.ships(explained.report))
    _say(explaining.loss_line(explained.stages))
    heads = heads_table(explained.report)
    if heads is not None:
        _head("Heads, held against themselves in float32")
        out.print(heads)

    eight_bits = "fp8" if any(operation.precision == "fp8" for operation in explanation.operations) else "int8"
    _head(f"Precision: {explanation.int8_macs_share:.1%} of the multiply-accumulates in {eight_bits}")
    out.print(explaining.kinds_table(explanation))

    table, elsewhere = explaining.blocks_table(explanation)
    if table.row_count:
        _head("Blocks (i8: static int8, tok: int8 per token, +: smoothed input)")
        out.print(table)
    if elsewhere:
        _say(f"elsewhere: {', '.join(elsewhere)}")

    _head("Exceptions from static int8" if explanation.exceptions else "No exceptions from static int8.")
    for exception in explanation.exceptions:
        first, *rest = explaining.exception_lines(explained, exception)
        _say(first)
        for line in rest:
            _say(line, indent=2)

    sensitive = explaining.sensitive_table(explanation)
    if sensitive.row_count:
        _head("Most sensitive operations")
        _say(f"lost: 1 - mean patch cosine if it alone runs in static int8, {explanation.evidence.value}")
        out.print(sensitive)
    else:
        _head("Sensitivity was not measured.")

    if explanation.massive:
        _head("Massive activations (the ratio is to the usual token's largest value)")
        out.print(explaining.massive_table(explanation))
    else:
        _head("No massive activations were seen.")


def _head(text: str) -> None:
    out.print()
    _say(text, style="bold")


def _say(text: str, *, indent: int = 0, style: str = "") -> None:
    from rich.text import Text

    blank = " " * indent
    lines = textwrap.fill(text, out.width, initial_indent=blank, subsequent_indent=blank, break_on_hyphens=False)
    out.print(Text(lines, style), soft_wrap=True)


def _explanation_json(artefact: Path, explained: Explained, drawn: tuple[Path, ...]) -> dict[str, Any]:
    from edgec.report import explaining
    from edgec.report.grids import chosen_rows

    report, explanation = explained.report, explained.explanation
    loss, price = explaining.first_loss(explained.stages), explaining.price(report)
    return {
        "artefact": str(artefact),
        "chosen": report.chosen,
        "reason": report.reason,
        "kinds": [asdict(kind) for kind in explaining.kinds(explanation)],
        "exceptions_price": asdict(price) if price and explanation.exceptions else None,
        "most_sensitive": [operation.name for operation in explaining.most_sensitive(explanation)],
        "first_loss": asdict(loss) if loss else None,
        "heads": [task.model_dump(mode="json", exclude_none=True) for _, task, _ in chosen_rows(report)],
        "explanation": explanation.model_dump(mode="json"),
        "pictures": [str(path) for path in drawn],
    }
