"""Values as people write them, in the one form that statements have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from edgec.checkpoint.stated.types import Value
from edgec.checkpoint.text import shown
from edgec.errors import UnreadableCheckpoint

_ACTIVATIONS: Final = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "nn.gelu": "gelu",
    "nn.silu": "silu",
}


def scalar(value: Any, where: str) -> Value:
    """A number, a truth, a text or a list of numbers; a list of equal numbers, as in a patch of [16, 16], is one number, unless
    it has other than two.

    Raises `UnreadableCheckpoint` for anything else.
    """
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        numbers = tuple(value)
        if numbers and all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in numbers):
            return numbers[0] if len(numbers) == 2 and numbers[0] == numbers[1] else numbers
    elif isinstance(value, (bool, int, float, str)):
        return value
    raise UnreadableCheckpoint(f"{where} is not usable.", evidence=f"it is {shown(value, 80)}; needed a number")


def activation(value: Any) -> str:
    """`gelu` is the exact one, `silu` has two names; any other under its own name."""
    return _ACTIVATIONS.get(str(value).lower(), str(value))


def normalisation(mean: Any, std: Any, where: str, divisor: float | None = None) -> tuple[float, ...]:
    """Means and standard deviations of R, G and B, of pixels in [0, 1], as one tuple of six. A single number stands for three.

    `divisor` is what takes them from the author's scale to [0, 1]. None: figures for bytes, as detectors have them (123.7, 58.4),
    are told by their size. Raises `UnreadableCheckpoint` for what is no three numbers.
    """
    means, stds = _triple(mean, where), _triple(std, where)
    if divisor is None:
        divisor = 255.0 if max(stds) > 4 else 1.0  # no deviation of values in [0, 1] is above a half
    if min(stds) <= 0:
        raise UnreadableCheckpoint(
            f"{where}: standard deviations of pixels must be positive.", evidence=f"it is {shown(std, 80)}"
        )
    return (*(each / divisor for each in means), *(each / divisor for each in stds))


def _triple(value: Any, where: str) -> tuple[float, float, float]:
    every = value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else (value,) * 3
    numbers = [each for each in every if isinstance(each, (int, float)) and not isinstance(each, bool) and abs(each) < 1e3]
    if len(numbers) != 3 or len(every) != 3:
        raise UnreadableCheckpoint(f"{where} is not usable.", evidence=f"it is {shown(value, 80)}; needed three numbers")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
