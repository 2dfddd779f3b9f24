"""PyTorch to the hub graph."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir
import torch
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    DeduplicateInitializersPass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn

from edgec.errors import ExportError
from edgec.graph.contract import OPSET, check_contract
from edgec.graph.passes.naming import NameByModule
from edgec.model.camera import CameraModel
from edgec.model.spec import Size, Spec
from edgec.quiet import inductor_folder_goes


class _Positional(nn.Module):
    """The exporter names outputs by position."""

    def __init__(self, model: CameraModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(frames).values())


def export(model: CameraModel, spec: Spec, size: Size, batch: int) -> ir.Model:
    """The hub graph of a folded model. Input `frames`, uint8 [batch, H, W, 3]; outputs by name, float32.

    Raises `ExportError` if the exporter fails or the graph breaks the contract.
    """
    frames = torch.zeros(batch, size.height, size.width, 3, dtype=torch.uint8)
    names = ["cls", "patches"]
    names += ["registers"] if model.registers and spec.registers else []
    names += [f"patches_{index}" for index in sorted(model.layers)]
    hub = to_onnx(_Positional(model), {"frames": frames}, names, {"model.backbone": ""})
    hub.producer_name, hub.producer_version, hub.graph.name = "edgec", None, "hub"
    check_contract(hub, spec, size, batch)
    return hub


def to_onnx(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], roots: Mapping[str, str], *, shared: bool = True
) -> ir.Model:
    """Export what the module computes of inputs with these shapes, in the hub graph's opset. Inputs and outputs are named in the
    order in which the module takes and gives them; nodes and constants get the names that `roots` says
    (`edgec.graph.passes.naming`). Without `shared`, equal constants and operations stay separate.

    Raises `ExportError` if the exporter fails.
    """
    try:
        with _quiet() as output, inductor_folder_goes():
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
                optimize=False,
            )
            assert program is not None
            _simplify(program.model, shared=shared)
    except Exception as error:
        raise ExportError(
            "PyTorch could not export the model to ONNX.",
            evidence=[f"{type(error).__name__}: {str(error).strip().splitlines()[0]}", *output.getvalue().splitlines()[-5:]],
            remedy="check the versions of torch and onnxscript with `edgec doctor`",
        ) from error
    NameByModule(roots)(program.model)
    return program.model


def _simplify(model: ir.Model, *, shared: bool) -> None:
    """The part of the exporter's own optimisation that applies to the family's graphs, in an eighth of its time: of its rewriting
    rules, which try a hundred patterns on each node, none matches here."""
    fold_constants(model, onnx_shape_inference=True)
    RemoveUnusedNodesPass()(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    if shared:
        DeduplicateInitializersPass()(model)
        CommonSubexpressionEliminationPass()(model)


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """The exporter prints progress, logs what torchvision operators it lacks, and warns about its own internals."""
    output = io.StringIO()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    if not logging.getLogger().isEnabledFor(logging.INFO):
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            warnings.simplefilter("ignore")
            yield output
    finally:
        logger.setLevel(level)
        logging.getLogger(__name__).info("torch.onnx.export said: %s", output.getvalue())
