"""Running a saved Core ML program with numpy: operation by operation, in the types that the file declares.

Each result is rounded to the type that the program declares for it: an fp16 tensor holds fp16 values. Within one operation,
values and sums are float32. Apple's hardware may differ: the Neural Engine and the GPU may sum in fp16, fuse operations and skip
the rounding in between, flush subnormal numbers, approximate exp and erf, and clamp or overflow earlier. So this shows exactly
what the converted model computes, and approximately what rounding to fp16 costs; whether a Mac's compute units agree is another
question, which `device/` answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.errors import RuntimeFailure
from edgec.lowering.coreml.evaluator import constants
from edgec.lowering.coreml.evaluator.operations import EXACT, OPERATIONS, PARAMETERS, Unsupported
from edgec.lowering.coreml.evaluator.package import Function, ImageInput, Operation, read_package
from edgec.lowering.coreml.evaluator.threads import one_thread
from edgec.lowering.coreml.evaluator.types import TensorType

Array = NDArray[Any]
Tensors = dict[str, Array]
"""By name: float32, or int32 for integers."""
Observer = Callable[[Operation, dict[str, Array]], dict[str, Array] | None]
_INTEGERS = {"u": "i"}
CONSTANTS = ("const", *(name for name in vars(constants) if name.startswith("constexpr_")))


def load(package: Path, function: str | None = None) -> Program:
    """Open a saved package. `function` is one of a package with several; its default by default.

    Raises `RuntimeFailure` if the package is damaged, has no such function, or uses an operation, attribute or type that the
    evaluator does not know: it is named.
    """
    read = read_package(package)
    name = function or read.default
    if name not in read.functions:
        raise RuntimeFailure(f"The package has no function {name}.", evidence=f"it has {', '.join(sorted(read.functions))}")
    return Program(read.functions[name], tuple(sorted(read.functions)))


class Program:
    """One function of a package, ready to run. Weights stay mapped until they are read; those that are stored smaller than the
    program's type are made dense once."""

    def __init__(self, function: Function, functions: tuple[str, ...]) -> None:
        self.function = function
        self.functions = functions
        """Names of all functions of the package."""
        for operation in function.operations:
            _check_known(operation)
        self._constants: dict[str, Array] = {}
        self._last = _last_uses(function)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """In program order, without constants."""
        return tuple(entry for entry in self.function.operations if entry.kind not in CONSTANTS)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names, in the program's order."""
        return self.function.outputs

    def run(self, frames: NDArray[np.uint8], watch: Collection[str] = ()) -> Tensors:
        """Run frames, uint8 [N, H, W, 3], RGB, where N is a multiple of the program's own batch. Returns its outputs and the
        tensors in `watch` by name, float32, or int32 for integers, batches joined along the first axis.

        Raises `RuntimeFailure` for frames that do not fit, and for an operation whose inputs its definition does not allow,
        naming it.
        """
        requested = dict.fromkeys((*self.outputs, *watch))
        unknown = requested.keys() - {name for operation in self.function.operations for name, _ in operation.outputs}
        if unknown:
            raise RuntimeFailure(f"The program has no tensor {', '.join(sorted(unknown))}.")
        parts: dict[str, list[Array]] = {name: [] for name in requested}

        def collect(operation: Operation, values: dict[str, Array]) -> None:
            for name in requested.keys() & values.keys():
                value = values[name]
                parts[name].append(np.asarray(value, dtype=np.int32 if value.dtype == np.int32 else np.float32))

        for inputs in self.batches(frames):
            self.walk(inputs, collect)
        return {name: np.concatenate(batches) if batches[0].ndim else np.stack(batches) for name, batches in parts.items()}

    def batches(self, frames: NDArray[np.uint8]) -> Iterator[dict[str, Array]]:
        """The program's inputs, batch by batch. Several inputs are the frames of one batch, in their order: a Core ML image is
        one image."""
        inputs = self.function.inputs
        sizes = [(kind.shape[0] if kind.shape else None) or 1 for _, kind in inputs]
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames) or len(frames) % sum(sizes):
            raise RuntimeFailure(
                "The program was given frames of another type or shape.",
                evidence=f"it takes uint8 [N, H, W, 3], N a multiple of {sum(sizes)}; given: {frames.dtype} {list(frames.shape)}",
            )
        for start in range(0, len(frames), sum(sizes)):
            batch: dict[str, Array] = {}
            for (name, kind), size in zip(inputs, sizes, strict=True):
                batch[name] = _pixels(frames[start : start + size], kind, self.function.images.get(name))
                start += size
            yield batch

    def walk(self, inputs: Mapping[str, Array], observe: Observer, *, rounding: bool = True) -> None:
        """Run one batch; `observe` is called with each operation that is no constant and its results, in order. If it returns
        values, later operations read these instead.

        Without `rounding`, activations stay float32 where the program says fp16 or 8 bits, and `quantize` only divides. What
        remains is the computation that the program describes, with the weights that it stores, free of the noise in which small
        errors hide.
        """
        values = dict(inputs)
        with one_thread():
            for index, operation in enumerate(self.function.operations):
                constant = operation.kind in CONSTANTS
                if constant and operation.outputs[0][0] in self._constants:
                    continue
                results = self.evaluate(operation, values, rounding=rounding or constant)
                if constant:
                    self._constants |= results
                    continue
                values |= observe(operation, results) or results
                for name in self._last.get(index, ()):
                    values.pop(name, None)

    def evaluate(self, operation: Operation, values: Mapping[str, Array], *, rounding: bool = True) -> dict[str, Array]:
        """Evaluate one operation on `values` and the program's constants; returns its results by name, in the program's types.
        Raises `RuntimeFailure` naming the operation if its definition does not allow them."""
        arguments: dict[str, Any] = dict(operation.attributes)
        for parameter, argument in operation.inputs.items():
            bound = [
                self._value(binding, values) if named else binding
                for binding, named in zip(argument.bindings, argument.named, strict=True)
            ]
            arguments[parameter] = bound if parameter == "values" else bound[0]
        try:
            # NaN and Inf are results like others: beyond its end fp16 overflows here as it does there.
            with np.errstate(all="ignore"):
                table = OPERATIONS if rounding else OPERATIONS | EXACT
                evaluated = table[operation.kind](**arguments)
                results = evaluated if isinstance(evaluated, list) else [evaluated]
                if len(results) != len(operation.outputs):
                    raise Unsupported(f"{len(results)} results, the program says {len(operation.outputs)}")
                return {
                    name: _typed(value, kind, rounding) for value, (name, kind) in zip(results, operation.outputs, strict=True)
                }
        except (Unsupported, ValueError, TypeError, IndexError) as error:
            raise RuntimeFailure(
                f"Operation {operation.name} ({operation.kind}) of the saved program cannot be evaluated.", evidence=str(error)
            ) from error

    def _value(self, name: str, values: Mapping[str, Array]) -> Array:
        value = values.get(name)
        if value is None:
            value = self._constants.get(name)
        if value is None:
            raise RuntimeFailure(f"The program reads {name} before it is computed.")
        return value


def _pixels(frames: NDArray[np.uint8], kind: TensorType, image: ImageInput | None) -> Array:
    """What Core ML makes of an image input: planes [1, 3, H, W] of 0 to 255 in the program's type, in the package's order of
    colours. An ML program has no other preprocessing: the scale and bias of coremltools' ImageType are operations in it. An array
    input takes the frames unchanged."""
    pixels: Array = frames
    if image is not None:
        if frames.shape[1:3] not in image.sizes:
            sizes = ", ".join(f"{height}x{width}" for height, width in sorted(image.sizes))
            raise RuntimeFailure(f"The program takes images of {sizes}, not {frames.shape[1]}x{frames.shape[2]}.")
        pixels = (frames if image.colour == "RGB" else frames[..., ::-1]).transpose(0, 3, 1, 2)
    if not kind.holds(pixels.shape):
        raise RuntimeFailure(f"The program takes {kind}, not {list(pixels.shape)}.")
    return pixels.astype(kind.dtype)


def _check_known(operation: Operation) -> None:
    named = f"Operation {operation.name} ({operation.kind})"
    if operation.kind not in OPERATIONS:
        raise RuntimeFailure(f"{named} is not known to edgec's evaluator.")
    unknown = {*operation.inputs, *operation.attributes} - PARAMETERS[operation.kind]
    if unknown:
        raise RuntimeFailure(f"{named} has an attribute that edgec's evaluator does not know: {', '.join(sorted(unknown))}.")


def _last_uses(function: Function) -> dict[int, list[str]]:
    """By the index of an operation, the values that no later operation reads."""
    last: dict[str, int] = {}
    for index, operation in enumerate(function.operations):
        for name, _ in operation.outputs:
            last[name] = index
        for argument in operation.inputs.values():
            for name in argument.names:
                last[name] = index
    ended: dict[int, list[str]] = {}
    for name, index in last.items():
        ended.setdefault(index, []).append(name)
    return ended


def _typed(value: Array | str, declared: TensorType, rounding: bool) -> Any:
    """The value in the declared type, rounded if that is fp16. Raises `Unsupported` for another shape, and for another kind of
    number."""
    if isinstance(value, str):
        return value
    if not declared.holds(value.shape):
        raise Unsupported(f"gives shape {list(value.shape)}, the program says {declared}")
    if not rounding and value.dtype.kind == "f" and declared.kind in ("fp16", "fp32", "int8", "uint8"):
        return value.astype(np.float32, copy=False)
    if _INTEGERS.get(value.dtype.kind, value.dtype.kind) != _INTEGERS.get(declared.dtype.kind, declared.dtype.kind):
        raise Unsupported(f"gives {value.dtype}, the program says {declared}")
    return value.astype(declared.dtype, copy=False)
