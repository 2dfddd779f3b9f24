"""Settings of builds in TOML that people write: what the matrix of a sweep and a recipe have in common. Imports no torch."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from edgec.checkpoint.location.adjacent import NO_CONFIG
from edgec.checkpoint.location.source import DEMO
from edgec.checkpoint.weights.random import PREFIX
from edgec.errors import EdgecError
from edgec.frames.loading import shipped
from edgec.model.spec import Size
from edgec.paths import expand

_RANDOM_FRAMES = "random"
_SHOWN = 8


class Table(BaseModel):
    """Frozen and closed, without NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _size(value: Any) -> str:
    """In its long form, so that 224 and "224x224" are one size."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError('a size is a number, as in 224, or a string, as in "480x640"')
    try:
        return str(Size.parse(str(value)))
    except EdgecError as error:
        raise ValueError(f"{error.what} {error.remedy}") from None


def as_list(value: Any) -> Any:
    """A list as it is, and anything else as the only element of one."""
    return value if isinstance(value, list) else (value,)


def _require_unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = sorted(str(value) for value, count in Counter(values).items() if count > 1)
    if twice:
        raise ValueError(f"{', '.join(twice[:_SHOWN])} is given more than once")
    return values


Text = Annotated[str, Field(min_length=1)]
OneSize = Annotated[
    str,
    BeforeValidator(_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]+(x[0-9]+)?$"}]}),
]
Unique = AfterValidator(_require_unique)


def no_such_key(key: str, known: Iterable[str]) -> str:
    """A fact for an error: the key's last part is unknown, and which one may be meant."""
    names = list(known)
    near = difflib.get_close_matches(key.rpartition(".")[2], names, n=1)
    return f"{key}: there is no such key; " + (f"is {near[0]} meant?" if near else f"there are {', '.join(names)}")


def is_path(target: str) -> bool:
    """Whether a target is meant as a profile's file."""
    return target.endswith(".toml") or os.sep in target


def is_no_file(checkpoint: str) -> bool:
    """Whether a checkpoint is one that edgec brings or makes."""
    return checkpoint == DEMO or checkpoint.startswith(PREFIX)


def checkpoint_from(reference: str, root: Path) -> str:
    """As a request has it: a path is relative to `root`, the folder of the file."""
    return reference if is_no_file(reference) else absolute(reference, root)


def target_from(target: str, root: Path) -> str:
    """As `checkpoint_from`, of a name or a profile's file."""
    return absolute(target, root) if is_path(target) else target


def frames_from(reference: str | None, root: Path) -> str | None:
    """As `checkpoint_from`, of a set of frames."""
    if reference is None or reference in shipped() or reference.split(":")[0] == _RANDOM_FRAMES:
        return reference
    return absolute(reference, root)


def config_from(config: str | None, root: Path) -> str | None:
    """As `checkpoint_from`, of --config."""
    return config if config in (None, NO_CONFIG) else absolute(str(config), root)


def absolute(reference: str, root: Path) -> str:
    """The path of what a file in `root` refers to."""
    return os.path.normpath(root / expand(reference))
