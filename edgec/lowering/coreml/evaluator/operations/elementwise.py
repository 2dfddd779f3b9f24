"""Arithmetic, comparison and activation, element by element, with numpy's broadcasting, which is MIL's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgec.lowering.coreml.evaluator.operations.registry import Array, Floats, Unsupported, exact, floats, operation, wide
from edgec.lowering.coreml.evaluator.types import DTYPES

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floor_div": np.floor_divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "pow": np.power,
    "mod": np.mod,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "round": np.rint,
    "sign": np.sign,
    "square": np.square,
    "identity": np.asarray,
    "logical_not": np.logical_not,
}


def _binary(kind: str, function: Callable[[Array, Array], Array]) -> None:
    @operation(kind)
    def evaluate(x: Array, y: Array) -> Array:
        return function(wide(x), wide(y))


def _unary(kind: str, function: Callable[[Array], Array]) -> None:
    @operation(kind)
    def evaluate(x: Array) -> Array:
        return function(wide(x))


for _kind, _two in _BINARY.items():
    _binary(_kind, _two)
for _kind, _one in _UNARY.items():
    _unary(_kind, _one)


@operation("real_div")
def real_div(x: Array, y: Array) -> Array:
    return floats(x) / floats(y)


@operation("sqrt")
def sqrt(x: Array) -> Array:
    return np.sqrt(floats(x))


@operation("rsqrt")
def rsqrt(x: Array, epsilon: float = 1e-12) -> Array:
    return np.asarray(1 / np.sqrt(floats(x) + np.float32(epsilon)))


@operation("inverse")
def inverse(x: Array, epsilon: float = 1e-4) -> Array:
    return np.asarray(1 / (floats(x) + np.float32(epsilon)))


@operation("log")
def log(x: Array, epsilon: float = 1e-45) -> Array:
    return np.asarray(np.log(floats(x) + np.float32(epsilon)))


@operation("exp")
def exp(x: Array) -> Array:
    return np.exp(floats(x))


@operation("exp2")
def exp2(x: Array) -> Array:
    return np.exp2(floats(x))


@operation("sin")
def sin(x: Array) -> Array:
    return np.sin(floats(x))


@operation("cos")
def cos(x: Array) -> Array:
    return np.cos(floats(x))


@operation("atan")
def atan(x: Array) -> Array:
    return np.arctan(floats(x))


@operation("elu")
def elu(x: Array, alpha: float = 1.0) -> Array:
    values = floats(x)
    return np.where(values < 0, np.float32(alpha) * np.expm1(np.minimum(values, 0)), values)


@operation("sigmoid_hard")
def sigmoid_hard(x: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    return np.asarray(np.clip(floats(x) * np.float32(alpha) + np.float32(beta), 0, 1))


@operation("softplus")
def softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(floats(x), np.float32(0)))


@operation("softsign")
def softsign(x: Array) -> Array:
    values = floats(x)
    return np.asarray(values / (1 + np.abs(values)))


@operation("tanh")
def tanh(x: Array) -> Array:
    return np.tanh(floats(x))


@operation("sigmoid")
def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-floats(x)))


@operation("silu")
def silu(x: Array) -> Array:
    return floats(x) * sigmoid(x)


@operation("relu")
def relu(x: Array) -> Array:
    return np.maximum(wide(x), 0)


@operation("leaky_relu")
def leaky_relu(x: Array, alpha: float = 0.01) -> Array:
    values = floats(x)
    return np.where(values < 0, values * np.float32(alpha), values)


@operation("clip")
def clip(x: Array, alpha: Array, beta: Array) -> Array:
    return np.asarray(np.minimum(np.maximum(wide(x), wide(alpha)), wide(beta)))


@operation("select")
def select(cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond, a, b)


@operation("cast")
def cast(x: Array, dtype: str) -> Array:
    """To integers, towards zero."""
    if dtype not in DTYPES or dtype == "string":
        raise Unsupported(f"dtype {dtype!r}")
    return x.astype(DTYPES[dtype])


@exact("cast")
def cast_exactly(x: Array, dtype: str) -> Array:
    return floats(x) if dtype == "fp16" and x.dtype.kind == "f" else cast(x, dtype)


PART = 2**15
STEPS, REACH = 256, 4
"""erf is tabulated in steps of 1/256 up to 4, beyond which it is one in float32."""
_NODES = np.arange(REACH * STEPS + 2) / STEPS
_VALUES = np.array([math.erf(node) for node in _NODES])
_SLOPES = 2 / math.sqrt(math.pi) * np.exp(-_NODES * _NODES) / STEPS
_RISES = np.diff(_VALUES)
_CUBICS = [
    coefficients.astype(np.float32)
    for coefficients in (
        _VALUES[:-1],
        _SLOPES[:-1],
        3 * _RISES - 2 * _SLOPES[:-1] - _SLOPES[1:],
        _SLOPES[:-1] + _SLOPES[1:] - 2 * _RISES,
    )
]
"""By power, of the place within a step."""


@operation("erf")
def erf(x: Array) -> Array:
    """Cubic Hermite interpolation between exact values: numpy has no erf. The error, at most h⁴/384 times erf's fourth
    derivative, is 1e-11 and so float32's own."""
    return _by_parts(_erf, floats(x))


@operation("gelu")
def gelu(x: Array, mode: str = "EXACT") -> Array:
    if mode not in _GELU:
        raise Unsupported(f"mode {mode!r}")
    return _by_parts(_GELU[mode], floats(x))


def _by_parts(function: Callable[[Floats], Floats], x: Floats) -> Floats:
    """A function of single elements, of as many at a time as stay in the cache over all of its passes."""
    flat, result = x.reshape(-1), np.empty(x.size, np.float32)
    for start in range(0, x.size, PART):
        result[start : start + PART] = function(flat[start : start + PART])
    return result.reshape(x.shape)


def _erf(values: Floats) -> Floats:
    places = np.minimum(np.abs(values), np.float32(REACH)) * np.float32(STEPS)
    steps = places.astype(np.intp)  # of NaN, any: it is clipped below, and `t` stays NaN
    t = places - steps.astype(np.float32)
    found = np.take(_CUBICS[3], steps, mode="clip") * t
    for power in (2, 1):
        found += np.take(_CUBICS[power], steps, mode="clip")
        found *= t
    found += np.take(_CUBICS[0], steps, mode="clip")
    return np.asarray(np.copysign(found, values))


def _gelu_by_tanh(x: Floats) -> Floats:
    return np.asarray(0.5 * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + 0.044715 * x**3))))


_GELU: dict[str, Callable[[Floats], Floats]] = {
    "EXACT": lambda x: np.asarray(0.5 * x * (1 + _erf(x * np.float32(1 / math.sqrt(2))))),
    "TANH_APPROXIMATION": _gelu_by_tanh,
    "SIGMOID_APPROXIMATION": lambda x: np.asarray(x / (1 + np.exp(-1.702 * x))),
}
