"""Small MIL programs made with coremltools, saved as packages, and run from what was saved."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from edgec.lowering.coreml.evaluator import Program, load
from edgec.lowering.coreml.sdk import quiet

with quiet():
    import coremltools
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil import types as mil_types

ct, mb, types = coremltools, Builder, mil_types

assert onnx  # before coremltools asks for protobuf
Array = NDArray[Any]
Build = Callable[..., Any]
KINDS = {"float32": types.fp32, "float16": types.fp16, "int32": types.int32, "int8": types.int8, "bool": types.bool}


@contextlib.contextmanager
def working() -> Iterator[None]:
    """coremltools leaves its temporary folders to the garbage collector, which warns of it."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def save(
    path: Path,
    inputs: Mapping[str, Array],
    outputs: Callable[[dict[str, Any]], Mapping[str, Any]],
    *,
    opset: Any = ct.target.iOS18,
    image: str = "",
    half: bool = False,
    optimise: Callable[[Any], Any] = lambda model: model,
) -> Path:
    """What `convert` makes, `optimise`d, as a package."""
    model = convert(inputs, outputs, opset=opset, image=image, half=half)
    with working():
        optimise(model).save(str(path))
        del model
    return path


def convert(
    inputs: Mapping[str, Array],
    outputs: Callable[[dict[str, Any]], Mapping[str, Any]],
    *,
    opset: Any = ct.target.iOS18,
    image: str = "",
    half: bool = False,
) -> Any:
    """A model of coremltools. `outputs` builds the program from its inputs' variables; results by the names that they shall have.
    `image` makes the only input an image of these colours, `half` converts to fp16 as coremltools does it."""
    specs = [mb.TensorSpec(value.shape, KINDS[str(value.dtype)]) for value in inputs.values()]

    def build(*variables: Any) -> Any:
        made = outputs(dict(zip(inputs, variables, strict=True)))
        return tuple(mb.identity(x=value, name=name) for name, value in made.items())

    # coremltools takes the inputs' names from the signature.
    scope: dict[str, Any] = {"build": build}
    names = ", ".join(inputs)
    exec(f"def program({names}):\n    return build({names})", scope)
    program = mb.program(input_specs=specs, opset_version=opset)(scope["program"])
    shape = next(iter(inputs.values())).shape
    given = [ct.ImageType(next(iter(inputs)), shape=shape, color_layout=getattr(ct.colorlayout, image))] if image else None
    with working():
        return ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=opset,
            inputs=given,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            pass_pipeline=None if half else ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )


def walk(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Everything that the program computes."""
    actual: dict[str, Array] = {}
    program.walk(inputs, lambda operation, values: actual.update(values))
    return actual


def run(path: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    return walk(load(path), inputs)
