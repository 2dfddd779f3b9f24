"""The matrix: a TOML file that says which checkpoints to build for which targets, at which sizes, in which precisions.

    checkpoints = ["demo", "robot.pth"]      # or a table, name = "path"
    targets = ["cpu", "jetson"]
    sizes = [224, "480x640"]
    precisions = ["auto"]                    # this is the default
    calibration = "frames/"                  # as --calibration of `edgec build`; likewise validation, min_fidelity, effort,
    fps = 30                                 # iterations. fps is what the report asks of every cell
    exclude = [{ target = "jetson", size = 224 }]
    include = [{ checkpoint = "robot", target = "apple", size = 448, precision = "fp16" }]

Paths are relative to the file.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from edgec.backends.offering import PrecisionChoice
from edgec.checkpoint.location.source import DEMO, SUFFIXES
from edgec.checkpoint.weights.random import PREFIX
from edgec.errors import RequestError
from edgec.model.spec import Size
from edgec.records.reading import printable
from edgec.request import BuildRequest, Effort
from edgec.settings import OneSize, Table, Text, Unique, as_list, checkpoint_from, config_from, frames_from, is_path, target_from
from edgec.untrusted import TEXT_LIMIT, Refused, complaint, parse_toml, read_bytes

LIMIT_CELLS = 1000
_MOST_EXCLUDED = 10 * LIMIT_CELLS
"""Cells before any is left out."""
_MOST_RULES = 256
_SHOWN = 8
_REMEDY = "`edgec sweep --help` shows an example; the keys are those of `edgec build`'s options"


class Exclude(Table):
    """Leaves out every cell that agrees with all of these; a key has one value or a list of them, and at least one is given."""

    checkpoint: Annotated[tuple[Text, ...], BeforeValidator(as_list)] = ()
    target: Annotated[tuple[Text, ...], BeforeValidator(as_list)] = ()
    size: Annotated[tuple[OneSize, ...], BeforeValidator(as_list)] = ()
    precision: Annotated[tuple[PrecisionChoice, ...], BeforeValidator(as_list)] = ()

    def matches(self, checkpoint: str, target: str, size: str, precision: str) -> bool:
        """Whether a cell of these values is left out."""
        return all(
            not allowed or value in allowed
            for allowed, value in zip(self._allowed, (checkpoint, target, size, precision), strict=True)
        )

    @cached_property
    def _allowed(self) -> tuple[frozenset[str], ...]:
        return tuple(map(frozenset, (self.checkpoint, self.target, self.size, self.precision)))


class Include(Table):
    """One cell more. `checkpoint` is a name of `checkpoints`, or another checkpoint."""

    checkpoint: Text
    target: Text
    size: OneSize
    precision: PrecisionChoice = "auto"


class MatrixFile(Table):
    """The file as it is written: a key each, with the defaults of `edgec build`."""

    checkpoints: dict[Text, Text] = Field(min_length=1)
    targets: Annotated[tuple[Text, ...], Unique] = Field(min_length=1)
    sizes: Annotated[tuple[OneSize, ...], Unique] = Field(min_length=1)
    precisions: Annotated[tuple[PrecisionChoice, ...], Unique] = Field(default=("auto",), min_length=1)
    weights: Text | None = None
    config: Text | None = None
    """For all checkpoints alike, as in `edgec build`."""
    calibration: Text | None = None
    validation: Text | None = None
    min_fidelity: float = Field(default=0.99, gt=0, le=1)
    effort: Effort = "quick"
    iterations: int = Field(default=100, ge=5, le=1_000_000)
    fps: float = Field(default=30.0, gt=0, le=100_000)
    exclude: tuple[Exclude, ...] = Field(default=(), max_length=_MOST_RULES)
    include: tuple[Include, ...] = ()

    @field_validator("checkpoints", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """A list's checkpoints have the names that `edgec build` gives them."""
        if not isinstance(value, list):
            return value
        if not all(isinstance(each, str) and each for each in value):
            raise ValueError("a list of strings, or a table of name = string")
        named: dict[str, str] = {}
        for reference in value:
            name = _name_of(reference)
            if name in named:
                raise ValueError(
                    f"{named[name]!r} and {reference!r} would both be called {name!r}: name them, as in "
                    f'{{ first = "{named[name]}", second = "{reference}" }}'
                )
            named[name] = reference
        return named


@dataclass(frozen=True)
class Cell:
    """One artefact to build; `request` lacks only the folder that it goes to. `name` is that of the artefact, without ending.
    `hub` is the same for cells whose first stages are the same."""

    name: str
    checkpoint: str
    target: str
    size: Size
    precision: PrecisionChoice
    request: BuildRequest

    @property
    def hub(self) -> tuple[str, str]:
        """What the export depends on: cells with the same value share their first stages through the cache."""
        return self.request.checkpoint, str(self.size)

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the files and folders that it reads."""
        request = self.request
        references = (request.checkpoint, request.config, request.target, request.calibration, request.validation)
        return tuple(text for text in references if text and Path(text).is_absolute())


@dataclass(frozen=True)
class Matrix:
    """What to build, and what every cell is asked: to keep up with `fps` frames a second and keep `min_fidelity`."""

    path: Path
    fps: float
    min_fidelity: float
    cells: tuple[Cell, ...]


def read(path: Path, *, fps: float | None = None, min_fidelity: float | None = None) -> Matrix:
    """The matrix in the file at `path`; `fps` and `min_fidelity`, where given, count instead of the file's.

    Raises `RequestError` naming the file and the key: what cannot be read or is not valid, an exclusion of nothing, two cells of
    one name, none at all, or more than 1000.
    """
    table = _parse(path)
    root = path.absolute().parent
    fps, min_fidelity = fps or table.fps, table.min_fidelity if min_fidelity is None else min_fidelity
    combinations = [
        *_product(table, path),
        *((included.checkpoint, included.target, included.size, included.precision) for included in table.include),
    ]
    combinations = list(dict.fromkeys(combinations))
    if not combinations or len(combinations) > LIMIT_CELLS:
        counted = f"{len(combinations)} cells; the limit is {LIMIT_CELLS}" if combinations else "exclude leaves nothing of it"
        raise _refused(path, counted, "split the matrix into several files" if combinations else "exclude less")
    cells = []
    for checkpoint, target, size, precision in combinations:
        name = checkpoint if checkpoint in table.checkpoints else _name_of(checkpoint)
        request = BuildRequest(
            checkpoint=checkpoint_from(table.checkpoints.get(checkpoint, checkpoint), root),
            weights=table.weights,
            config=config_from(table.config, root),
            target=target_from(target, root),
            calibration=frames_from(table.calibration, root),
            validation=frames_from(table.validation, root),
            size=Size.parse(size),
            precision=precision,
            min_fidelity=min_fidelity,
            iterations=table.iterations,
            effort=table.effort,
        )
        label = Path(target).stem if is_path(target) else target
        parts = (_safe(name), _safe(label), str(request.size), precision)
        cells.append(Cell("-".join(parts), name, label, request.size, precision, request))
    _check_names(cells, path)
    return Matrix(path, fps, min_fidelity, tuple(cells))


def _product(table: MatrixFile, path: Path) -> Iterator[tuple[str, str, str, PrecisionChoice]]:
    """The matrix without what is excluded."""
    whole = math.prod(map(len, (table.checkpoints, table.targets, table.sizes, table.precisions)))
    if whole > _MOST_EXCLUDED:
        raise _refused(
            path,
            f"{whole:,} cells before any is left out; the limit is {_MOST_EXCLUDED:,}",
            "split the matrix into several files",
        )
    idle = set(range(len(table.exclude)))
    for cell in product(table.checkpoints, table.targets, table.sizes, table.precisions):
        matching = {index for index, rule in enumerate(table.exclude) if rule.matches(*cell)}
        idle -= matching
        if not matching:
            yield cell
    for index in sorted(idle):
        rule = table.exclude[index].model_dump(exclude_defaults=True)
        shown = ", ".join(f"{key} {' or '.join(values[:_SHOWN])}" for key, values in rule.items())
        raise _refused(
            path,
            f"exclude.{index}: no cell has {shown}",
            f"checkpoints are called {', '.join([*table.checkpoints][:_SHOWN])}; leave it out",
        )
    if any(not rule.model_dump(exclude_defaults=True) for rule in table.exclude):
        raise _refused(path, "exclude: an entry without a key leaves out everything", "name what it is to leave out")


def _check_names(cells: list[Cell], path: Path) -> None:
    """Also where a file system does not tell capitals from small letters."""
    named: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        named[cell.name.casefold()].append(cell)
    for first, *others in named.values():
        if others:
            one, two = first.request, others[0].request
            raise _refused(
                path,
                f"two cells would be {first.name}.edgec: {one.checkpoint} for {one.target}, {two.checkpoint} for {two.target}",
                'name the checkpoints, as in checkpoints = { first = "a.pth", second = "b.pth" }, and profiles by their files',
            )


def _parse(path: Path) -> MatrixFile:
    try:
        table = parse_toml(read_bytes(path, TEXT_LIMIT))
    except (Refused, OSError) as error:
        raise RequestError(
            f"The matrix {printable(str(path))} cannot be read.",
            evidence=f"it {printable(str(error))}",
            remedy="give the matrix's TOML file",
        ) from error
    try:
        return MatrixFile.model_validate(table)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        facts = [_fact(dict(problem)) for problem in problems[:_SHOWN]]
        facts += [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise RequestError(
            f"The matrix {printable(str(path))} is not valid.", evidence=list(dict.fromkeys(facts)), remedy=_REMEDY
        ) from error


def _fact(problem: dict[str, Any]) -> str:
    key = printable(".".join(map(str, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        known = Exclude if key.startswith("exclude") else Include if key.startswith("include") else MatrixFile
        return f"{key}: there is no such key; there are {', '.join(known.model_fields)}"
    return f"{key}: {printable(complaint(problem))}"


def _refused(path: Path, fact: str, remedy: str) -> RequestError:
    return RequestError(f"The matrix {printable(str(path))} is not valid.", evidence=printable(fact), remedy=remedy)


def _name_of(reference: str) -> str:
    """As `edgec.checkpoint` would call it, told from the text alone: the file may not be there."""
    if reference == DEMO or reference.startswith(PREFIX):
        return reference
    path = Path(reference)
    return path.stem if path.suffix.lower() in SUFFIXES else (path.name or path.absolute().name)


def _safe(text: str) -> str:
    return re.sub(r"[^\w.]+", "-", text).strip("-.")[:80] or "unnamed"
