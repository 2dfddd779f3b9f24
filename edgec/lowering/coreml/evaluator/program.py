"""Running a saved Core ML program with numpy: what the file says, operation by operation, in the types that the file says.

Each result is rounded to the type that the program declares for it: an fp16 tensor holds fp16 values. Within one operation values
are float32 and sums are float32's. Apple's hardware may differ: the Neural Engine and the GPU may sum in fp16, fuse operations
and skip the rounding in between, flush subnormal numbers, approximate exp and erf, and clamp or overflow earlier. So this shows
what the conversion made of a model, exactly, and what fp16's rounding costs it, approximately; parity on a Mac's compute units is
another question, which `device/` answers.
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
"""By name: float32, or int32 what the program says are whole numbers."""
Seen = Callable[[Operation, dict[str, Array]], dict[str, Array] | None]
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
        return self.function.outputs

    def run(self, frames: NDArray[np.uint8], watch: Collection[str] = ()) -> Tensors:
        """`frames` uint8 [N, H, W, 3], RGB; the program's own batch divides N. Gives its outputs and the watched tensors, by
        name, in float32, or in int32 what are whole numbers, batches joined along the first axis.

        Raises `RuntimeFailure` for frames that do not fit, and naming the operation that is out of its definition.
        """
        wanted = dict.fromkeys((*self.outputs, *watch))
        unknown = wanted.keys() - {name for operation in self.function.operations for name, _ in operation.outputs}
        if unknown:
            raise RuntimeFailure(f"The program has no tensor {', '.join(sorted(unknown))}.")
        parts: dict[str, list[Array]] = {name: [] for name in wanted}

        def keep(operation: Operation, values: dict[str, Array]) -> None:
            for name in wanted.keys() & values.keys():
                value = values[name]
                parts[name].append(np.asarray(value, dtype=np.int32 if value.dtype == np.int32 else np.float32))

        for inputs in self.batches(frames):
            self.walk(inputs, keep)
        return {name: np.concatenate(found) if found[0].ndim else np.stack(found) for name, found in parts.items()}

    def batches(self, frames: NDArray[np.uint8]) -> Iterator[dict[str, Array]]:
        """The program's inputs, batch by batch. Several inputs are the frames of one batch, in their order: a Core ML image is
        one image."""
        inputs = self.function.inputs
        sizes = [(kind.shape[0] if kind.shape else None) or 1 for _, kind in inputs]
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames) or len(frames) % sum(sizes):
            raise RuntimeFailure(
                "The program was given something else than its frames.",
                evidence=f"it takes uint8 [N, H, W, 3], N a multiple of {sum(sizes)}; given: {frames.dtype} {list(frames.shape)}",
            )
        for start in range(0, len(frames), sum(sizes)):
            batch: dict[str, Array] = {}
            for (name, kind), size in zip(inputs, sizes, strict=True):
                batch[name] = _pixels(frames[start : start + size], kind, self.function.images.get(name))
                start += size
            yield batch

    def walk(self, inputs: Mapping[str, Array], seen: Seen, *, rounding: bool = True) -> None:
        """One batch through the program; `seen` is given each operation that is no constant and its results, in order. What it
        returns, if anything, is what later operations read instead. Without `rounding`, activations stay float32 where the
        program says fp16 or 8 bits, and `quantize` only divides: what is left is what the program says to compute, with the
        weights that it stores, free of the noise in which small errors hide."""
        values = dict(inputs)
        with one_thread():
            for index, operation in enumerate(self.function.operations):
                constant = operation.kind in CONSTANTS
                if constant and operation.outputs[0][0] in self._constants:
                    continue
                found = self.evaluate(operation, values, rounding=rounding or constant)
                if constant:
                    self._constants |= found
                    continue
                values |= seen(operation, found) or found
                for name in self._last.get(index, ()):
                    values.pop(name, None)

    def evaluate(self, operation: Operation, values: Mapping[str, Array], *, rounding: bool = True) -> dict[str, Array]:
        """One operation on `values` and the program's constants; its results in the program's types."""
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
                results = table[operation.kind](**arguments)
                found = results if isinstance(results, list) else [results]
                if len(found) != len(operation.outputs):
                    raise Unsupported(f"{len(found)} results, the program says {len(operation.outputs)}")
                return {name: _typed(value, kind, rounding) for value, (name, kind) in zip(found, operation.outputs, strict=True)}
        except (Unsupported, ValueError, TypeError, IndexError) as error:
            raise RuntimeFailure(
                f"Operation {operation.name} ({operation.kind}) of the saved program cannot be evaluated.", evidence=str(error)
            ) from error

    def _value(self, name: str, values: Mapping[str, Array]) -> Array:
        found = values.get(name)
        if found is None:
            found = self._constants.get(name)
        if found is None:
            raise RuntimeFailure(f"The program reads {name}, which nothing before made.")
        return found


def _pixels(frames: NDArray[np.uint8], kind: TensorType, image: ImageInput | None) -> Array:
    """What Core ML makes of an image input: planes [1, 3, H, W] of 0 to 255 in the program's type, in the package's order of
    colours. An ML program has no other preprocessing: a scale or bias of coremltools' ImageType are operations in it. An array
    input takes frames as they are."""
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
        raise RuntimeFailure(f"{named} is none that edgec's evaluator knows.")
    unknown = {*operation.inputs, *operation.attributes} - PARAMETERS[operation.kind]
    if unknown:
        raise RuntimeFailure(f"{named} has an attribute that edgec's evaluator does not know: {', '.join(sorted(unknown))}.")


def _last_uses(function: Function) -> dict[int, list[str]]:
    """By operation, the values that nothing after it reads."""
    last: dict[str, int] = {}
    for index, operation in enumerate(function.operations):
        for name, _ in operation.outputs:
            last[name] = index
        for argument in operation.inputs.values():
            for name in argument.names:
                last[name] = index
    found: dict[int, list[str]] = {}
    for name, index in last.items():
        found.setdefault(index, []).append(name)
    return found


def _typed(value: Array | str, declared: TensorType, rounding: bool) -> Any:
    """The value in the declared type, rounded if that is fp16. Refuses another shape, and another kind of number."""
    if isinstance(value, str):
        return value
    if not declared.holds(value.shape):
        raise Unsupported(f"gives shape {list(value.shape)}, the program says {declared}")
    if not rounding and value.dtype.kind == "f" and declared.kind in ("fp16", "fp32", "int8", "uint8"):
        return value.astype(np.float32, copy=False)
    if _INTEGERS.get(value.dtype.kind, value.dtype.kind) != _INTEGERS.get(declared.dtype.kind, declared.dtype.kind):
        raise Unsupported(f"gives {value.dtype}, the program says {declared}")
    return value.astype(declared.dtype, copy=False)
