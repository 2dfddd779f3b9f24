"""What a process does once that forks others for builds: each of them then has it."""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import suppress

from tests.support import once

_LIBRARIES = (
    *("torch", "torch.onnx._internal.exporter._core", "torch._export.converter", "onnx", "onnxruntime", "onnx_ir", "openvino"),
    *("onnxscript.optimizer", "matplotlib.pyplot", "rich.live", "rich.table", "rich.progress", "PIL.Image", "pydantic"),
)
_ROOMS = (
    *("artefact", "backends", "checkpoint", "fidelity", "frames", "graph", "heads", "latency", "lowering", "model", "precision"),
    *("report", "stages"),
)


def ready_to_build() -> None:
    """Imports what a build imports, but for the command line, which looks at its environment as it is imported; exports
    something small, because the first export of a process takes seconds longer than those that follow; and reads which module
    imports which.

    This process stays one of a single thread, so that it may be forked."""
    import torch

    torch.set_num_threads(1)
    for name in _LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    for room in _ROOMS:
        package = importlib.import_module(f"edgec.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            with suppress(ImportError):
                importlib.import_module(module.name)
    once.read_operators_now()
    once.know_operators_once()
    from edgec import dependencies
    from edgec.graph.export import to_onnx

    to_onnx(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.GELU()), {"x": torch.zeros(1, 4)}, ["y"], {"": ""})
    dependencies.everything(("edgec.building", "edgec.stages.assembling"))
    dependencies.fingerprint(["edgec.building", "edgec.stages.assembling", "edgec.stages.candidates", "edgec.stages.sizes"])
