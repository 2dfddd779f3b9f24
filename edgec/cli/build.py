"""`edgec build`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgec.cli import options

if TYPE_CHECKING:
    from edgec.backends.rtx.finishing import Finished, Gpu
    from edgec.building import BuildResult
    from edgec.frames.raw import RawFormat
    from edgec.model.spec import Size
    from edgec.progress import Progress
    from edgec.request import BuildRequest


@click.command(short_help="Compile a checkpoint into a verified artefact.")
@options.recipe_or_checkpoint
@options.weights
@options.config
@options.against
@options.target
@options.calibration
@options.validation
@options.topic
@options.raw_format
@options.input_sizes
@options.batch
@options.precision
@options.candidate
@options.heads
@options.features
@options.min_fidelity
@options.min_fidelity_elsewhere
@options.foreign
@options.min_agreement
@options.min_iou
@options.max_depth_error
@options.effort
@options.registers
@options.layers
@options.output
@options.engine
@options.force
@options.threads
@options.iterations
@options.patience
@options.seed
@options.as_json
@options.verbose
@click.pass_context
def build(context: click.Context, /, checkpoint: str | None, engine: bool, as_json: bool, verbose: bool, **settings: Any) -> None:
    """Compile CHECKPOINT into an artefact: a directory that holds the model for its runtime, proof of its features, and a report.

    CHECKPOINT is a .pth or .safetensors file, a Hugging Face directory, `demo`, or `random:ARCH`.

    Without CHECKPOINT, or with the path of a recipe (`edgec init` writes one): what edgec.toml in the current folder says is
    built, an artefact for each of its targets and sizes. Options count instead of what it says.
    """
    from edgec.recipes.file import recipe_for

    recipe = recipe_for(checkpoint)
    if recipe is None:
        assert checkpoint is not None
        requests = [_request(checkpoint, **settings)]
    else:
        given = {name for name in settings if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
        requests = recipe.requests(_overrides({name: settings[name] for name in given}))
    summaries = [_build(request, engine, as_json, verbose) for request in requests]
    if as_json:
        click.echo(json.dumps(summaries if recipe is not None else summaries[0], indent=1))


def _request(checkpoint: str, sizes: tuple[Size, ...], topic: str, raw: RawFormat | None, **settings: Any) -> BuildRequest:
    from edgec.frames import Reading
    from edgec.request import BuildRequest

    return BuildRequest(checkpoint, size=sizes[0], more_sizes=sizes[1:], reading=Reading(topic, raw), **settings)


def _overrides(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were typed, as fields of a request; `topic` and `raw` stay apart, as either may be the recipe's."""
    if "sizes" in given:
        first, *others = given.pop("sizes")
        given |= {"size": first, "more_sizes": tuple(others)}
    return given


def _build(request: BuildRequest, engine: bool, as_json: bool, verbose: bool) -> dict[str, Any]:
    from edgec.building import build as compile_checkpoint
    from edgec.cli.progress import BuildDisplay

    with BuildDisplay(verbose=verbose) as progress:
        machine = _find_gpu(request.target, progress) if engine else None
        result = compile_checkpoint(request, progress)
    if not as_json:
        _print(result)
    finished = None
    if machine is not None:
        # The artefact is whole and stays, whatever comes of its engines.
        with BuildDisplay(verbose=verbose) as progress:
            finished = _finish(result.directory, *machine, progress)
        if not as_json:
            _print_engine(finished)
    return _summary(result, finished)


def _find_gpu(target: str, progress: Progress) -> tuple[Gpu, bool]:
    """The GPU here, and whether it is the target. Raises `TargetError` before any work if there could be no engine at its end."""
    from edgec.backends.profiles import chosen
    from edgec.backends.rtx.finishing import find_gpu
    from edgec.backends.rtx.profile import as_generations
    from edgec.errors import TargetError
    from edgec.host.facts import facts

    profiles = chosen(target, facts())
    if not all(profile.runtimes == ("tensorrt",) for profile in profiles):
        raise TargetError(
            "Engines are TensorRT's, and this target runs none.",
            evidence=f"--engine with --target {target}",
            remedy="leave out --engine, or build for NVIDIA's GPUs: --target jetson, or --target rtx",
        )
    with progress.stage("look for TensorRT and a GPU"):
        return find_gpu(profiles), bool(as_generations(profiles))


def _finish(artefact: Path, gpu: Gpu, is_target: bool, progress: Progress) -> Finished:
    """Into a folder beside the artefact: the artefact's own files are hashed and stay unchanged."""
    from edgec.backends.rtx.finishing import finish
    from edgec.boards.results import save
    from edgec.records.consistency import read_report

    finished = finish(artefact, artefact.with_name(artefact.name + ".engine"), gpu, progress, is_target=is_target)
    save(finished.report, read_report(finished.measurements).to_json().encode())
    return finished


def _print(result: BuildResult) -> None:
    from rich.text import Text

    from edgec.cli.console import out
    from edgec.cli.tables import print_shipped
    from edgec.report.shipping import next_line
    from edgec.report.table import candidates_table, heads_table

    out.print(candidates_table(result.report))
    out.print()
    heads = heads_table(result.report)
    if heads is not None:
        out.print(heads)
        out.print()
    out.print(result.report.reason, markup=False, soft_wrap=True)
    if result.reused:
        out.print(f"{result.directory} is up to date: nothing was done.", markup=False, soft_wrap=True)
    else:
        out.print(f"wrote {result.directory}", markup=False, soft_wrap=True)
    out.print()
    print_shipped(result.report)
    out.print(Text(next_line(result.report, result.directory), "bold"), soft_wrap=True)


def _print_engine(finished: Finished) -> None:
    from edgec.cli.console import out

    out.print()
    out.print(finished.table, markup=False, soft_wrap=True)
    out.print()
    out.print(f"engine: {finished.plan}", markup=False, soft_wrap=True)
    out.print(f"report: {finished.report}", markup=False, soft_wrap=True)


def _summary(result: BuildResult, finished: Finished | None) -> dict[str, Any]:
    engine = finished and {"plan": str(finished.plan), "report": json.loads(finished.report.read_text(encoding="utf-8"))}
    return {
        "artefact": str(result.directory),
        "reused": result.reused,
        "manifest": json.loads(result.manifest.to_json()),
        "report": result.report.model_dump(mode="json", exclude={"candidates": {"__all__": {"latency": {"samples_ms"}}}}),
        **({"engine": engine} if engine else {}),
    }
