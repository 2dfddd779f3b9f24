"""What a pickle's names become when it calls them: plain values and descriptions of tensors. No function that it names is run.

A pickle imports names and calls them. The names that trainers' files need are listed here, each with the function of this module
that stands for it. Every other name raises `ForbiddenImport`, and the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from edgec.checkpoint.containers.objects import (
    Array,
    Fields,
    ForbiddenImport,
    Ignored,
    Name,
    Storage,
    extents_of,
    key_text,
    set_items,
    whole,
    wholes,
)
from edgec.checkpoint.containers.tensors import ITEM_BYTES, StoredTensor
from edgec.untrusted import Refused

_ARRAY_ELEMENTS = 4096
"""Elements of the largest NumPy array that is read as a statement."""


# ---------------------------------------------------------------------------------------------------------------- constants

_CONSTANTS = re.compile(
    r"torch\.(u?int\d+|float\w*|bfloat16|half|double|long|short|complex\d+|bool|bits\w+|qu?int\w+|per_(tensor|channel)_\w+"
    r"|strided|jagged|sparse_\w+|\w+_format)"
    r"|torch(\.cuda|\.sparse|\.cuda\.sparse)?\.\w+(Storage|Tensor)|torch\.storage\.(Untyped|Typed)Storage"
    r"|torch\.(Tensor|dtype|layout|memory_format)|torch\.nn\.parameter\.(Buffer|Uninitialized\w+)"
    r"|builtins\.(dict|list|int|float|str|set|tuple|bool|bytes|object|complex|frozenset|bytearray)"
    r"|numpy\.(ndarray|(bool|u?int|float|complex)\w*)|typing\.\w+"
)
"""Names that may be imported and are never called."""
_STORAGE = re.compile(r"torch(?:\.cuda)?\.(\w+)Storage|torch\.storage\.(Untyped)Storage")
_STORED = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "QInt8": "qint8",
    "QUInt8": "quint8",
    "QInt32": "qint32",
    "Untyped": "uint8",
}


def imported(module: str, name: str) -> Name:
    """The name, in the spelling of Python 3 and NumPy 1. Raises `ForbiddenImport` if it is not listed here."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    full = f"{module}.{name}".replace("numpy._core.", "numpy.core.").replace("pathlib._local.", "pathlib.")
    if full not in _CALLS and full not in _FIELDS and not _CONSTANTS.fullmatch(full):
        raise ForbiddenImport(f"{module}.{name}")
    return Name(full)


def storage(identity: Any) -> Storage:
    """The storage that a persistent identity describes: ("storage", type, key, location, count, view). Raises `Refused` for any
    other identity."""
    if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or identity[0] not in ("storage", b"storage"):
        raise Refused("refers to something else than a tensor's storage")
    _, kind, key, _, count, *view = identity
    match = _STORAGE.fullmatch(kind.full) if isinstance(kind, Name) else None
    dtype = _STORED.get(match.group(1) or match.group(2)) if match else None
    if dtype is None or not whole(count):
        raise Refused("describes a tensor's storage in a way that torch.save does not")
    if view and view[0] is not None:
        raise Refused("has a storage inside another one, as PyTorch before 0.4 wrote it")
    return Storage(str(key_text(key)), dtype, count)


# -------------------------------------------------------------------------------------------------------------------- calls


def called(name: Name, arguments: tuple[Any, ...], spend: Callable[[int], None]) -> Any:
    """What the call of an imported name gives. `spend` is called with the steps that copying costs.

    Raises `ForbiddenImport`, or `Refused` for arguments that the name does not take.
    """
    if name.full in _FIELDS:
        return _fields(arguments, spend)
    call = _CALLS.get(name.full)
    if call is None:
        raise ForbiddenImport(name.full)
    for each in arguments:
        spend(len(each) >> 4 if isinstance(each, (str, bytes)) else len(each) if isinstance(each, (list, tuple)) else 0)
    try:
        return call(*arguments)
    except (TypeError, ValueError, OverflowError, LookupError) as error:
        raise Refused(f"calls {name.full} with arguments that it does not take") from error


def made(name: Any, arguments: Any, spend: Callable[[int], None]) -> Any:
    """What an imported class or function gives when it is called, or its `__new__`. Raises as `called`."""
    if not isinstance(name, Name) or not isinstance(arguments, tuple):
        raise Refused("calls something that it did not import")
    return called(name, arguments, spend)


def built(value: Any, state: Any, spend: Callable[[int], None]) -> Any:
    """The object with its state applied. Raises `Refused` for an object that takes none."""
    if isinstance(value, Fields):
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                spend(len(part))
                value.update(part)
        return value
    if isinstance(value, Array):
        value.value = _array(state, spend)
        return value
    if isinstance(value, Name) and value.full.startswith("numpy.dtype "):
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "?"
        return value if order in ("<", "|", "=") else Ignored("dtype")
    if isinstance(value, (dict, list, StoredTensor, Ignored, str)):
        return value  # attributes of an OrderedDict, of a parameter and the like
    raise Refused(f"gives a state to a {type(value).__name__}")


def _fields(arguments: tuple[Any, ...], spend: Callable[[int], None]) -> Fields:
    fields = Fields()
    for argument in arguments:
        if isinstance(argument, dict):
            spend(len(argument))
            fields.update(argument)
    return fields


def _ordered(*arguments: Any) -> dict[str, Any]:
    """Python 2 gave an OrderedDict its pairs; since then they come one by one."""
    pairs = arguments[0] if arguments else []
    if isinstance(pairs, dict):
        return pairs
    items: dict[str, Any] = {}
    for key, value in pairs:
        set_items(items, (key, value))
    return items


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


def _tensor(source: Any, offset: Any, size: Any, stride: Any, *others: Any) -> StoredTensor:
    return _stored(source, offset, size, stride, metadata=others[2] if len(others) > 2 else None)


def _tensor_of_type(source: Any, offset: Any, size: Any, stride: Any, *others: Any) -> StoredTensor:
    dtype = others[2] if len(others) > 2 else None
    if not isinstance(dtype, Name):
        raise TypeError
    name = dtype.full.removeprefix("torch.")
    return _stored(source, offset, size, stride, name, others[3] if len(others) > 3 else None)


def _parameter(data: Any = None, *_: Any) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise TypeError
    return data


def _with_attributes(function: Any, kind: Any, arguments: Any, _: Any) -> StoredTensor:
    """A tensor with attributes. One of another class than torch's own may compute differently, and is unusable."""
    if not isinstance(function, Name) or not isinstance(kind, Name) or function.full not in _REBUILDING:
        raise TypeError
    if kind.full not in ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"):
        return StoredTensor((0,), "float32", problem="a tensor of another class than torch.Tensor")
    return _REBUILDING[function.full](*arguments)


def _sparse(_: Any, data: Any) -> StoredTensor:
    sizes = [shape for each in data[:4] if isinstance(each, tuple) and (shape := extents_of(each)) is not None]
    return StoredTensor(sizes[-1] if sizes else (0,), "float32", problem="a sparse tensor")


def _odd(kind: str, size: int | None = None) -> Callable[..., StoredTensor]:
    def make(*arguments: Any) -> StoredTensor:
        shape = extents_of(arguments[size]) if size is not None and len(arguments) > size else None
        return StoredTensor(shape or (0,), "float32", problem=kind)

    return make


def _bytes(value: Any = b"", encoding: Any = "latin-1", *_: Any) -> bytes:
    if isinstance(value, str) and encoding in ("latin-1", "latin1", "utf-8", "ascii"):
        return value.encode(encoding, "replace")
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _items(value: Any = (), *_: Any) -> Any:
    """Sets and sizes are read as the sequence that they are made from; nothing is copied."""
    if not isinstance(value, (list, tuple)):
        raise TypeError
    return value


def _device(kind: Any, index: Any = None) -> str:
    return str(kind)[:40] if index is None else f"{str(kind)[:40]}:{index if whole(index) else 0}"


def _text(value: Any = "", *_: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _path(*parts: Any) -> str:
    return str(PurePosixPath(*(part[:1024] for part in parts[:64])))


def _dtype(code: Any, *_: Any) -> Name | Ignored:
    text = code.decode("ascii") if isinstance(code, bytes) else str(code)
    return Name(f"numpy.dtype {text}") if re.fullmatch(r"[<|=]?(f[248]|[iu][1248]|b1|\?)", text) else Ignored("dtype")


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, Name) or not isinstance(data, (bytes, str)):
        return Ignored("NumPy scalar")
    return _numbers(dtype, _bytes(data), ())


def _array(state: Any, spend: Callable[[int], None]) -> Any:
    if not isinstance(state, tuple) or len(state) != 5:
        raise Refused("describes a NumPy array in a way that NumPy does not")
    _, size, dtype, fortran, data = state
    if isinstance(data, (str, bytes)):
        spend(len(data) >> 1)
    shape = extents_of(size)
    if shape is None or not isinstance(dtype, Name) or not isinstance(data, (bytes, str)) or (fortran and len(shape) > 1):
        return Ignored("NumPy array")
    return _numbers(dtype, _bytes(data), shape)


def _from_buffer(data: Any, dtype: Any, size: Any, order: Any, *_: Any) -> Any:
    """How pickle protocol 5 makes an array."""
    shape = extents_of(size)
    if shape is None or not isinstance(dtype, Name) or (order != "C" and len(shape) > 1):
        return Ignored("NumPy array")
    return _numbers(dtype, _bytes(data), shape)


def _numbers(dtype: Name, data: bytes, shape: tuple[int, ...]) -> Any:
    import numpy as np

    if not dtype.full.startswith("numpy.dtype ") or len(data) > 8 * _ARRAY_ELEMENTS:
        return Ignored("NumPy array")
    try:
        return np.frombuffer(data, np.dtype(dtype.full.removeprefix("numpy.dtype "))).reshape(shape).tolist()
    except ValueError as error:
        raise Refused("holds a NumPy array whose bytes are not those of its shape") from error


def _reconstructed(kind: Any, *_: Any) -> Any:
    """How pickle protocols before 2 make an object."""
    if not isinstance(kind, Name) or kind.full not in _FIELDS:
        raise ForbiddenImport(kind.full if isinstance(kind, Name) else "copyreg._reconstructor")
    return Fields()


_FIELDS = frozenset(
    {
        "argparse.Namespace",
        "types.SimpleNamespace",
        "easydict.EasyDict",
        "addict.addict.Dict",
        "munch.Munch",
        "yacs.config.CfgNode",
        "fvcore.common.config.CfgNode",
        "mmengine.config.config.ConfigDict",
        "ml_collections.config_dict.config_dict.ConfigDict",
        "lightning.fabric.utilities.data.AttributeDict",
        "lightning_fabric.utilities.data.AttributeDict",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.listconfig.ListConfig",
        "omegaconf.base.ContainerMetadata",
        "omegaconf.base.Metadata",
        *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean", "Path", "Bytes")),
    }
)
"""Classes that hold configurations. Of their objects, attributes and items are read."""
_REBUILDING: dict[str, Callable[..., StoredTensor]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
_CALLS: dict[str, Callable[..., Any]] = {
    **_REBUILDING,
    "collections.OrderedDict": _ordered,
    "collections.Counter": _ordered,
    "collections.defaultdict": lambda *_: {},
    "collections.deque": lambda items=(), *_: list(_items(items)),
    "builtins.dict": _ordered,
    "builtins.set": _items,
    "builtins.frozenset": _items,
    "builtins.list": _items,
    "builtins.tuple": _items,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.complex": lambda *_: Ignored("complex number"),
    "builtins.slice": lambda *_: Ignored("slice"),
    "builtins.range": lambda *_: Ignored("range"),
    "_codecs.encode": _bytes,
    "copyreg._reconstructor": _reconstructed,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._utils._rebuild_qtensor": _odd("a quantised tensor", 2),
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_nested_tensor": _odd("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _odd("a meta tensor, which has no values", 1),
    "torch._utils._rebuild_wrapper_subclass": _odd("a tensor of another class than torch.Tensor", 2),
    "torch._utils._rebuild_device_tensor_from_numpy": _odd("a tensor of another device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _odd("a tensor of another device"),
    "torch._utils._rebuild_xla_tensor": _odd("a tensor of another device"),
    "torch.storage._load_from_bytes": lambda *_: Ignored("pickle inside a pickle"),
    "torch.Size": _items,
    "torch.device": _device,
    "torch.torch_version.TorchVersion": _text,
    "torch.serialization._get_layout": _text,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.multiarray._reconstruct": lambda *_: Array(),
    "numpy.core.numeric._frombuffer": _from_buffer,
    "pathlib.Path": _path,
    "pathlib.PosixPath": _path,
    "pathlib.WindowsPath": _path,
    "pathlib.PurePosixPath": _path,
    "pathlib.PureWindowsPath": _path,
    "uuid.UUID": lambda *_: Ignored("UUID"),
    **{f"datetime.{kind}": lambda *_: Ignored("time") for kind in ("datetime", "date", "time", "timedelta", "timezone")},
}
"""Names that trainers' files call, and what stands for each."""
