"""Values as people write them, brought to the types that statements have."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

from edgec.checkpoint.statements.types import Value
from edgec.errors import UnreadableCheckpoint
from edgec.text import shown

_BETWEEN: Final = re.compile(r"[,\s]+")
_ACTIVATIONS: Final = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "nn.gelu": "gelu",
    "nn.silu": "silu",
}


def scalar(value: Any, where: str, *, texts: bool = False) -> Value:
    """A number, a bool, a text or a tuple of numbers. Two equal numbers, as in a patch of [16, 16], are one number. With `texts`,
    "6" is a number, as in metadata and command lines.

    Raises `UnreadableCheckpoint` for anything else.
    """
    value = _parsed(value) if texts else value
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        numbers = tuple(map(_parsed, value) if texts else value)
        if numbers and all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in numbers):
            return numbers[0] if len(numbers) == 2 and numbers[0] == numbers[1] else numbers
    elif isinstance(value, (bool, int, float, str)):
        return value
    raise UnreadableCheckpoint(f"{where} is not usable.", evidence=f"it is {shown(value, 80)}; needed a number")


def activation(value: Any) -> str:
    """`gelu` (the exact one) or `silu` for all their spellings; any other activation as it is written."""
    return _ACTIVATIONS.get(str(value).lower(), str(value))


def normalisation(mean: Any, std: Any, where: str, divisor: float | None = None) -> tuple[float, ...]:
    """Means and standard deviations of R, G and B, of pixels in [0, 1], as one tuple of six. A single number stands for three.

    `divisor` scales them to pixels in [0, 1]. With None, values for bytes, as detectors have them (123.7, 58.4), are recognised
    by their size. Raises `UnreadableCheckpoint` unless each of the two is one number or three.
    """
    means, stds = _triple(mean, where), _triple(std, where)
    if divisor is None:
        divisor = 255.0 if max(*stds, *map(abs, means)) > 4 else 1.0  # for pixels in [0, 1] none is that large
    if min(stds) <= 0:
        raise UnreadableCheckpoint(
            f"{where}: standard deviations of pixels must be positive.", evidence=f"it is {shown(std, 80)}"
        )
    return (*(each / divisor for each in means), *(each / divisor for each in stds))


def is_plausible(six: Sequence[float]) -> bool:
    """Whether these can be means and deviations of pixels in [0, 1]; those of a robot's joints seldom look like that."""
    return all(0 <= mean <= 1 for mean in six[:3]) and all(0.02 < std <= 0.51 for std in six[3:])


def _triple(value: Any, where: str) -> tuple[float, float, float]:
    value = _parsed(value)
    every = _flat(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value] * 3
    numbers = [each for each in every if isinstance(each, (int, float)) and not isinstance(each, bool) and abs(each) < 1e3]
    if len(numbers) != 3 or len(every) != 3:
        raise UnreadableCheckpoint(f"{where} is not usable.", evidence=f"it is {shown(value, 80)}; needed three numbers")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _flat(value: Sequence[Any], depth: int = 4) -> list[Any]:
    """`[[[0.5]], [[0.5]], [[0.5]]]`, as arrays of shape [3, 1, 1] are written, is `[0.5, 0.5, 0.5]`."""
    flat = []
    for each in value[:4]:
        each = _parsed(each)
        flat += _flat(each, depth - 1) if isinstance(each, (list, tuple)) and depth else [each]
    return flat


def _parsed(value: Any) -> Any:
    """The texts `"6"`, `"1e-5"`, `"true"` and `"0.5, 0.5, 0.5"` as numbers, bool and list; everything else as it is."""
    if not isinstance(value, str) or len(value) > 200:
        return value
    if value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    parts = [part for part in _BETWEEN.split(value.strip(" ()[]")) if part]
    try:
        numbers = [int(part) if part.lstrip("-").isdigit() else float(part) for part in parts]
    except ValueError:
        return value
    if not numbers or not all(map(math.isfinite, numbers)):
        return value
    return numbers[0] if len(numbers) == 1 else numbers
