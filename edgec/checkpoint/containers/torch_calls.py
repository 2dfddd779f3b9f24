"""torch's functions in pickles, which rebuild tensors: each gives the description of a tensor.

Wrong types of arguments raise `TypeError`, which `edgec.checkpoint.containers.calls` turns into a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgec.checkpoint.containers.objects import Name, Storage, extents_of, whole, wholes
from edgec.checkpoint.containers.tensors import ITEM_BYTES, StoredTensor


def _stored(
    source: Any, offset: Any, size: Any, stride: Any, dtype: str | None = None, metadata: Any = None, problem: str = ""
) -> StoredTensor:
    """A tensor of a storage's elements. Impossible dimensions make the tensor unusable, not the file."""
    shape = extents_of(size)
    if not isinstance(source, Storage) or shape is None:
        return StoredTensor(shape or (0,), "float32", problem=problem or "described in a way that torch.save does not")
    strides = wholes(stride)
    if strides is None or len(strides) != len(shape) or not whole(offset):
        problem = problem or "laid out in a way that no tensor can be"
    if isinstance(metadata, dict) and any(metadata.values()):
        problem = problem or f"stored {' and '.join(sorted(map(str, metadata)))[:40]}, which is undone as it is used"
    dtype = dtype or source.dtype
    # A storage counts elements of its own type; a tensor in an untyped storage may have another type.
    claimed = source.count * ITEM_BYTES.get(source.dtype, 1)
    return StoredTensor(shape, dtype, strides or (), offset if whole(offset) else 0, source.key, claimed, problem)


def tensor(source: Any, offset: Any, size: Any, stride: Any, *others: Any) -> StoredTensor:
    """`torch._utils._rebuild_tensor` and `_v2`."""
    return _stored(source, offset, size, stride, metadata=others[2] if len(others) > 2 else None)


def tensor_of_type(source: Any, offset: Any, size: Any, stride: Any, *others: Any) -> StoredTensor:
    """`torch._utils._rebuild_tensor_v3`, whose storage has no type."""
    dtype = others[2] if len(others) > 2 else None
    if not isinstance(dtype, Name):
        raise TypeError
    name = dtype.full.removeprefix("torch.")
    return _stored(source, offset, size, stride, name, others[3] if len(others) > 3 else None)


def parameter(data: Any = None, *_: Any) -> StoredTensor:
    """A parameter is read as its tensor."""
    if not isinstance(data, StoredTensor):
        raise TypeError
    return data


def tensor_with_attributes(function: Any, kind: Any, arguments: Any, _: Any) -> StoredTensor:
    """A tensor with attributes. One of another class than torch's own may compute differently, and is unusable."""
    if not isinstance(function, Name) or not isinstance(kind, Name) or function.full not in REBUILDING:
        raise TypeError
    if kind.full not in ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"):
        return StoredTensor((0,), "float32", problem="a tensor of another class than torch.Tensor")
    return REBUILDING[function.full](*arguments)


def sparse_tensor(_: Any, data: Any) -> StoredTensor:
    """Unusable, with its shape."""
    sizes = [shape for each in data[:4] if isinstance(each, tuple) and (shape := extents_of(each)) is not None]
    return StoredTensor(sizes[-1] if sizes else (0,), "float32", problem="a sparse tensor")


def unusable(kind: str, size: int | None = None) -> Callable[..., StoredTensor]:
    """For a call that makes a tensor of this kind: an unusable tensor, with the shape that the argument number `size` gives."""

    def make(*arguments: Any) -> StoredTensor:
        shape = extents_of(arguments[size]) if size is not None and len(arguments) > size else None
        return StoredTensor(shape or (0,), "float32", problem=kind)

    return make


REBUILDING: dict[str, Callable[..., StoredTensor]] = {
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_tensor_v3": tensor_of_type,
    "torch._utils._rebuild_parameter": parameter,
    "torch._utils._rebuild_parameter_with_state": parameter,
}
"""Functions that rebuild a plain tensor, by their names in pickles."""
