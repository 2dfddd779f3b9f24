"""What a run of the tests does once, though it is needed hundreds of times."""

from __future__ import annotations

import fcntl
import functools
import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_folder: Path | None = None


def share_in(folder: Path) -> None:
    """Where the processes of this run keep what one of them made."""
    global _folder
    folder.mkdir(exist_ok=True)
    _folder = folder


def made_once(key: str, make: Callable[[], bytes]) -> bytes:
    """What `make` gives for this key, made by the first process of the run that asks for it while the others wait."""
    if _folder is None:
        return make()
    place = _folder / hashlib.sha256(key.encode()).hexdigest()
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            unfinished = place.with_suffix(".part")
            unfinished.write_bytes(make())
            unfinished.rename(place)
    return place.read_bytes()


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


def know_operators_once() -> None:
    """It also infers the signatures of these operators anew, and asks PyTorch twice which of its own are made of others, which is
    two thirds of what an export takes before it looks at the model (torch 2.13). The first depend on the opset alone (nothing
    here adds operators of its own), the second on which libraries of operators are loaded. Where a version keeps the functions
    elsewhere, they are left alone."""
    try:
        import torch
        from torch._export import utils
        from torch.export import decomp_utils, exported_program
        from torch.onnx._internal.exporter import _registration

        registry: Any = _registration.ONNXRegistry
        users: tuple[Any, ...] = (decomp_utils, exported_program)
        collect = utils._collect_all_valid_cia_ops
        if any(user._collect_all_valid_cia_ops is not collect for user in users):
            return
        libraries = torch.ops._dir
        by_opset = functools.cache(registry.from_torchlib)
    except (ImportError, AttributeError):
        return
    by_libraries = functools.cache(lambda _: collect())
    registry.from_torchlib = staticmethod(by_opset)
    for user in users:
        user._collect_all_valid_cia_ops = lambda: by_libraries(tuple(libraries))
