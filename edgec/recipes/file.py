"""A recipe: edgec.toml beside a checkpoint says what `edgec build` makes of it, how it is signed, and where it goes.

    checkpoint = "model.safetensors"
    targets = ["cpu", "jetson"]              # an artefact for each of these, at each of the sizes
    sizes = ["480x640"]
    calibration = "frames/"
    validation = "other-frames/"
    output = "built"                         # the folder that artefacts go to
    boards = ["robot@r1", "robot@r2"]        # for `edgec deploy`, or ["FLEET.toml"]

    [heads]
    floor = "floor.safetensors"

    [budgets]
    min_fidelity = 0.99
    min_iou = 0.95

    [bundle]
    key = "release.key"                      # for `edgec bundle`

Paths are relative to the file. The other keys are `edgec build`'s options, with their defaults.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from edgec import checkpoint as checkpoints
from edgec.backends.offering import PrecisionChoice
from edgec.checkpoint.location.adjacent import NO_CONFIG
from edgec.errors import RequestError
from edgec.fleet.file import is_fleet
from edgec.frames import Reading, raw
from edgec.model.spec import Size
from edgec.paths import usable_path
from edgec.records.report import DIALECT
from edgec.request import BuildRequest, Effort, RecipeUse, default_output
from edgec.settings import (
    OneSize,
    Table,
    Text,
    Unique,
    absolute,
    checkpoint_from,
    config_from,
    frames_from,
    is_no_file,
    is_path,
    no_such_key,
    target_from,
)
from edgec.untrusted import TEXT_LIMIT, Refused, complaint, parse_toml, printable, read_bytes

NAME = "edgec.toml"
_SHOWN = 8
_PKCS11 = "pkcs11:"
_NOT_OF_THE_ARTEFACT = {"targets", "sizes", "output", "bundle", "boards"}
"""Keys that change no artefact by themselves: which of them are made, and what becomes of them."""
_REMEDY = "`edgec init` writes one that is right; `edgec schema recipe` prints the schema, for editors"

HeadName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Budgets(Table):
    """What may be lost, as `edgec build`'s options of the same names."""

    min_fidelity: float = Field(default=0.99, gt=0, le=1)
    min_fidelity_elsewhere: float | None = Field(default=None, gt=0, le=1)
    min_agreement: float | None = Field(default=None, gt=0, le=1)
    min_iou: float | None = Field(default=None, gt=0, le=1)
    max_depth_error: float | None = Field(default=None, gt=0)


class Signing(Table):
    """For `edgec bundle`."""

    key: Text = Field(description="the private key, or a PKCS#11 URI, as --sign")


class Recipe(Table):
    """The file as it is written."""

    checkpoint: Text = Field(description="a file of weights, a Hugging Face directory, demo, or random:ARCH")
    weights: Text | None = None
    config: Text | None = None
    targets: Annotated[tuple[Text, ...], Unique] = Field(default=("cpu",), min_length=1, max_length=64)
    sizes: Annotated[tuple[OneSize, ...], Unique] = Field(default=("224x224",), min_length=1, max_length=64)
    calibration: Text | None = Field(default=None, description="frames to calibrate on: a folder, video, bag, list or manifest")
    validation: Text | None = Field(default=None, description="frames to judge by, instead of a share of the calibration set")
    foreign: Text | None = Field(default=None, description="frames of other places than the calibration's, to judge by")
    topic: str = ""
    raw_format: Text | None = None
    heads: dict[HeadName, Text] = Field(default={}, max_length=64, description="by name, the file of each head")
    features: bool = True
    registers: bool = False
    layers: tuple[Annotated[int, Field(ge=0, le=10_000)], ...] = Field(default=(), max_length=256)
    precision: PrecisionChoice = "auto"
    candidate: Text | None = Field(default=None, description="the candidate that ships, instead of one chosen by measurement")
    effort: Effort = "quick"
    batch: int = Field(default=1, ge=1, le=4096)
    threads: int | None = Field(default=None, ge=1, le=4096)
    iterations: int = Field(default=100, ge=5, le=1_000_000)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    output: Text = Field(default=".", description="the folder that artefacts go to")
    budgets: Budgets = Budgets()
    bundle: Signing | None = None
    boards: tuple[Text, ...] = Field(default=(), max_length=10_000, description="where `edgec deploy` goes, or one FLEET.toml")

    @field_validator("layers")
    @classmethod
    def _in_order(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(layers)))

    @field_validator("raw_format")
    @classmethod
    def _format(cls, text: str | None) -> str | None:
        try:
            if text is not None:
                raw.parse(text)
        except RequestError as error:
            raise ValueError(" ".join((error.what, *error.evidence, error.remedy))) from None
        return text


@dataclass(frozen=True)
class OpenRecipe:
    """A recipe that was read, and where it lies. `written` are the keys as the file has them."""

    path: Path
    recipe: Recipe
    written: Mapping[str, Any]

    @property
    def root(self) -> Path:
        """The folder that its paths are relative to."""
        return self.path.parent

    @property
    def key(self) -> str | None:
        """What signs bundles, if it says so."""
        if self.recipe.bundle is None:
            return None
        key = self.recipe.bundle.key
        return key if key.startswith(_PKCS11) else absolute(key, self.root)

    @property
    def boards(self) -> tuple[str, ...]:
        """Where artefacts go: addresses, or a fleet's file."""
        return tuple(absolute(board, self.root) if is_fleet(board) else board for board in self.recipe.boards)

    def requests(self, given: Mapping[str, Any]) -> list[BuildRequest]:
        """A build for each target and size. `given` is what counts instead: fields of a `BuildRequest`, and `topic` and `raw` of
        its `reading`.

        Raises `RequestError` for paths that lead nowhere, for one `output` of several builds, and for two artefacts of one name;
        and `CheckpointError` for a checkpoint that is none.
        """
        self._require_files(given)
        recipe, use = self.recipe, self._use(given)
        targets = [given["target"]] if "target" in given else [target_from(target, self.root) for target in recipe.targets]
        sizes = [given["size"]] if "size" in given else [Size.parse(size) for size in recipe.sizes]
        fields = {name: value for name, value in given.items() if name not in ("topic", "raw", "target", "size")}
        first = replace(self._request(given), recipe=use, **fields)
        requests = [replace(first, target=target, size=size) for target in targets for size in sizes]
        if "output" in given and given["output"] is not None:
            if len(requests) > 1:
                raise RequestError(
                    f"{self.path} asks for {len(requests)} artefacts, and one output is given.",
                    evidence=f"targets {', '.join(targets)}; sizes {', '.join(map(str, sizes))}",
                    remedy="choose one with --target and --input-size, or set `output` in the recipe, a folder for all",
                )
            return requests
        identity = checkpoints.identify(first.checkpoint, seed=first.seed, config=first.config)
        folder = Path(absolute(recipe.output, self.root))
        named = [replace(request, output=folder / default_output(request, identity)) for request in requests]
        twice = [str(path) for path, count in Counter(request.output for request in named).items() if count > 1]
        if twice:
            raise self._refused([f"targets: two artefacts would be {twice[0]}"])
        return named

    def _request(self, given: Mapping[str, Any]) -> BuildRequest:
        """What it says of all its builds."""
        recipe, root = self.recipe, self.root
        form = None if recipe.raw_format is None else raw.parse(recipe.raw_format)
        return BuildRequest(
            checkpoint=checkpoint_from(recipe.checkpoint, root),
            weights=recipe.weights,
            config=config_from(recipe.config, root),
            calibration=frames_from(recipe.calibration, root),
            validation=frames_from(recipe.validation, root),
            foreign=frames_from(recipe.foreign, root),
            reading=Reading(given.get("topic", recipe.topic), given.get("raw", form)),
            batch=recipe.batch,
            precision=recipe.precision,
            candidate=recipe.candidate,
            heads=tuple(f"{name}={absolute(path, root)}" for name, path in recipe.heads.items()),
            features=recipe.features,
            registers=recipe.registers,
            layers=recipe.layers,
            threads=recipe.threads,
            iterations=recipe.iterations,
            effort=recipe.effort,
            seed=recipe.seed,
            **recipe.budgets.model_dump(),
        )

    def _use(self, given: Mapping[str, Any]) -> RecipeUse:
        settings = {key: value for key, value in self.written.items() if key not in _NOT_OF_THE_ARTEFACT}
        stated = {*settings, *settings.get("budgets", {})}
        names = {"raw": "raw_format"}
        overridden = sorted({names.get(name, name) for name in given} & stated)
        return RecipeUse(self.path.name, json.dumps(settings, sort_keys=True), tuple(overridden))

    def _require_files(self, given: Mapping[str, Any]) -> None:
        missing = [
            f"{key}: nothing is at {printable(path)}"
            for key, path in self._paths()
            if key.partition(".")[0] not in given and not os.path.lexists(path)
        ]
        if missing:
            raise self._refused(missing, "correct the path: it is relative to the recipe's folder")

    def _paths(self) -> Iterator[tuple[str, str]]:
        """By key, what a build reads."""
        recipe, root = self.recipe, self.root
        if not is_no_file(recipe.checkpoint):
            yield "checkpoint", checkpoint_from(recipe.checkpoint, root)
        if recipe.config not in (None, NO_CONFIG):
            yield "config", absolute(str(recipe.config), root)
        sets = {"calibration": recipe.calibration, "validation": recipe.validation, "foreign": recipe.foreign}
        for key, frames in sets.items():
            path = frames_from(frames, root)
            if path is not None and path != frames:
                yield key, path
        for name, head in recipe.heads.items():
            yield f"heads.{name}", absolute(head, root)
        for target in filter(is_path, recipe.targets):
            yield "target", target_from(target, root)

    def _refused(self, facts: list[str], remedy: str = _REMEDY) -> RequestError:
        shown = [*facts[:_SHOWN], *([f"and {len(facts) - _SHOWN} more"] if len(facts) > _SHOWN else [])]
        return RequestError(f"The recipe {printable(str(self.path))} cannot be followed.", evidence=shown, remedy=remedy)


def recipe_for(checkpoint: str | None) -> OpenRecipe | None:
    """The recipe that a command line means: the TOML file that stands for the checkpoint, or edgec.toml in the current folder if
    there is no checkpoint. None if `checkpoint` is one. Raises `RequestError` as `read`, and if there is neither."""
    if checkpoint is None:
        recipe = here()
        if recipe is None:
            raise RequestError(
                f"No checkpoint is given, and there is no {NAME} in this folder.",
                evidence=f"looked in {printable(str(Path.cwd()))}",
                remedy="edgec build CHECKPOINT; or `edgec init`, which writes a recipe from what the folder holds",
            )
        return recipe
    path = usable_path(checkpoint, "The checkpoint")
    return read(path) if path.suffix == ".toml" and not path.is_dir() else None


def here() -> OpenRecipe | None:
    """The recipe of the current folder; None if there is none. Raises `RequestError` as `read`."""
    return read(Path(NAME)) if os.path.lexists(NAME) else None


def read(path: Path) -> OpenRecipe:
    """Raises `RequestError` that names every key that is unknown, missing or wrong, and for a file that cannot be read."""
    name = printable(str(path))
    try:
        table = parse_toml(read_bytes(path, TEXT_LIMIT))
    except FileNotFoundError:
        raise RequestError(f"There is no recipe at {name}.", remedy="give its path, or write one: edgec init") from None
    except (Refused, OSError) as error:
        raise RequestError(
            f"The recipe {name} cannot be read.", evidence=f"it {printable(str(error))}", remedy=_REMEDY
        ) from error
    try:
        return OpenRecipe(path.absolute(), Recipe.model_validate(table), table)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        # A list whose only entry is wrong also counts as too short.
        inside = {problem["loc"][:-1] for problem in problems}
        told = [each for each in problems if not (each["type"] == "too_short" and each["loc"] in inside)]
        facts = list(dict.fromkeys(_fact(dict(problem)) for problem in told))
        shown = [*facts[:_SHOWN], *([f"and {len(facts) - _SHOWN} more"] if len(facts) > _SHOWN else [])]
        raise RequestError(f"The recipe {name} is not valid.", evidence=shown, remedy=_REMEDY) from error


def _fact(problem: Mapping[str, Any]) -> str:
    key = printable(".".join(map(str, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        tables: dict[str, type[Table]] = {"budgets": Budgets, "bundle": Signing}
        return no_such_key(key, tables.get(key.partition(".")[0], Recipe).model_fields)
    if problem["type"] == "missing":
        return f"{key}: it must be given"
    if key.startswith("heads.") and problem["type"] == "string_pattern_mismatch":
        return f"{key.removesuffix('.[key]')}: a head's name is small letters, digits and _: it becomes an output's"
    return f"{key}: {printable(complaint(problem))}"


def json_schema() -> dict[str, Any]:
    """Of an edgec.toml, for editors that check TOML."""
    return {"$schema": DIALECT, "$id": "urn:edgec:recipe:1", **Recipe.model_json_schema()}
