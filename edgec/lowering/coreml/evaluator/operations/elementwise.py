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
    "relu": lambda x: np.maximum(x, 0),
}
_OF_FLOATS: dict[str, Callable[[Array], Array]] = {
    "sqrt": np.sqrt,
    "exp": np.exp,
    "exp2": np.exp2,
    "sin": np.sin,
    "cos": np.cos,
    "atan": np.arctan,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x * (1 / (1 + np.exp(-x))),
    "softplus": lambda x: np.logaddexp(x, np.float32(0)),
    "softsign": lambda x: x / (1 + np.abs(x)),
}
"""As `_UNARY`; integers are refused."""
_WITH_EPSILON: dict[str, tuple[Callable[[Array], Array], float]] = {
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1e-12),
    "inverse": (lambda x: 1 / x, 1e-4),
    "log": (np.log, 1e-45),
}
"""Functions of x + epsilon, with the epsilon that MIL takes by default."""


def _register_binary(kind: str, function: Callable[[Array, Array], Array], convert: Callable[[Array], Array]) -> None:
    @operation(kind)
    def evaluate(x: Array, y: Array) -> Array:
        return function(convert(x), convert(y))


def _register_unary(kind: str, function: Callable[[Array], Array], convert: Callable[[Array], Array]) -> None:
    @operation(kind)
    def evaluate(x: Array) -> Array:
        return np.asarray(function(convert(x)))


def _register_with_epsilon(kind: str, function: Callable[[Array], Array], default: float) -> None:
    @operation(kind)
    def evaluate(x: Array, epsilon: float = default) -> Array:
        return np.asarray(function(floats(x) + np.float32(epsilon)))


for _kind, _binary in _BINARY.items():
    _register_binary(_kind, _binary, wide)
_register_binary("real_div", np.divide, floats)
for _kind, _unary in _UNARY.items():
    _register_unary(_kind, _unary, wide)
for _kind, _unary in _OF_FLOATS.items():
    _register_unary(_kind, _unary, floats)
for _kind, (_unary, _epsilon) in _WITH_EPSILON.items():
    _register_with_epsilon(_kind, _unary, _epsilon)


@operation("elu")
def elu(x: Array, alpha: float = 1.0) -> Array:
    """alpha · (exp(x) - 1) below zero, x above."""
    values = floats(x)
    return np.where(values < 0, np.float32(alpha) * np.expm1(np.minimum(values, 0)), values)


@operation("sigmoid_hard")
def sigmoid_hard(x: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """clip(alpha · x + beta, 0, 1)."""
    return np.asarray(np.clip(floats(x) * np.float32(alpha) + np.float32(beta), 0, 1))


@operation("leaky_relu")
def leaky_relu(x: Array, alpha: float = 0.01) -> Array:
    """alpha · x below zero, x above."""
    values = floats(x)
    return np.where(values < 0, values * np.float32(alpha), values)


@operation("clip")
def clip(x: Array, alpha: Array, beta: Array) -> Array:
    """x within [alpha, beta]."""
    return np.asarray(np.minimum(np.maximum(wide(x), wide(alpha)), wide(beta)))


@operation("select")
def select(cond: Array, a: Array, b: Array) -> Array:
    """`a` where `cond` is true, `b` elsewhere."""
    return np.where(cond, a, b)


@operation("cast")
def cast(x: Array, dtype: str) -> Array:
    """To integers, towards zero. Raises `Unsupported` for a type that is not known, and for strings."""
    if dtype not in DTYPES or dtype == "string":
        raise Unsupported(f"dtype {dtype!r}")
    return x.astype(DTYPES[dtype])


@exact("cast")
def cast_exactly(x: Array, dtype: str) -> Array:
    """As `cast`, but fp16 is not rounded to."""
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
    """`mode` is EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION."""
    if mode not in _GELU:
        raise Unsupported(f"mode {mode!r}")
    return _by_parts(_GELU[mode], floats(x))


def _by_parts(function: Callable[[Floats], Floats], x: Floats) -> Floats:
    """A function of single elements, of as many at a time as stay in the cache over all of its passes."""
    flat, result = x.reshape(-1), np.empty(x.size, np.float32)
    for start in range(0, x.size, PART):
        result[start : start + PART] = function(flat[start : start + PART])
    return result.reshape(x.shape)


def _erf(x: Floats) -> Floats:
    positions = np.minimum(np.abs(x), np.float32(REACH)) * np.float32(STEPS)
    steps = positions.astype(np.intp)  # of NaN, any: it is clipped below, and `t` stays NaN
    t = positions - steps.astype(np.float32)
    result = np.take(_CUBICS[3], steps, mode="clip") * t
    for power in (2, 1):
        result += np.take(_CUBICS[power], steps, mode="clip")
        result *= t
    result += np.take(_CUBICS[0], steps, mode="clip")
    return np.asarray(np.copysign(result, x))


def _gelu_by_tanh(x: Floats) -> Floats:
    return np.asarray(0.5 * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + 0.044715 * x**3))))


_GELU: dict[str, Callable[[Floats], Floats]] = {
    "EXACT": lambda x: np.asarray(0.5 * x * (1 + _erf(x * np.float32(1 / math.sqrt(2))))),
    "TANH_APPROXIMATION": _gelu_by_tanh,
    "SIGMOID_APPROXIMATION": lambda x: np.asarray(x / (1 + np.exp(-1.702 * x))),
}
