"""What a process that runs tests does once, though it is needed hundreds of times."""

from __future__ import annotations

import functools
from contextlib import suppress


def read_operators_once() -> None:
    """`torch.onnx.export` reads the sources of all 400 operators that onnxscript writes, each time, which is a third of the time
    that the export of a small model takes (torch 2.13). They stay the same as long as the process runs. Where a version keeps the
    function elsewhere, it is left alone."""
    try:
        from onnxscript._framework_apis import torch_2_5
        from torch.onnx._internal.exporter import _registration

        apis = _registration.onnxscript_apis
        if apis.get_torchlib_ops is torch_2_5.get_torchlib_ops:
            apis.get_torchlib_ops = functools.cache(torch_2_5.get_torchlib_ops)
    except (ImportError, AttributeError):
        return


def read_operators_now() -> None:
    """For a process that forks others: each of them then has them."""
    read_operators_once()
    with suppress(ImportError, AttributeError):
        from torch.onnx._internal.exporter import _registration

        _registration.onnxscript_apis.get_torchlib_ops()
