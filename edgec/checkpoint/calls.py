"""What a pickle's names become when it calls them: plain values and descriptions of tensors. No function that it names is run.

A pickle imports names and calls them. Those that trainers' files need are known here, each with what edgec makes of it; every
other one is `Foreign`, and the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from edgec.checkpoint.inert import (
    Array,
    Fields,
    Foreign,
    Name,
    Storage,
    Unsaid,
    extents_of,
    key_text,
    set_items,
    whole,
    wholes,
)
from edgec.checkpoint.stored import ITEM_BYTES, Described
from edgec.untrusted import Refused

_ARRAY_ELEMENTS = 4096
"""Elements of the largest NumPy array that is taken for a statement."""


# ---------------------------------------------------------------------------------------------------------------- constants

_CONSTANTS = re.compile(
    r"torch\.(u?int\d+|float\w*|bfloat16|half|double|long|short|complex\d+|bool|bits\w+|qu?int\w+|per_(tensor|channel)_\w+"
    r"|strided|jagged|sparse_\w+|\w+_format)"
    r"|torch(\.cuda|\.sparse|\.cuda\.sparse)?\.\w+(Storage|Tensor)|torch\.storage\.(Untyped|Typed)Storage"
    r"|torch\.(Tensor|dtype|layout|memory_format)|torch\.nn\.parameter\.(Buffer|Uninitialized\w+)"
    r"|builtins\.(dict|list|int|float|str|set|tuple|bool|bytes|object|complex|frozenset|bytearray)"
    r"|numpy\.(ndarray|(bool|u?int|float|complex)\w*)|typing\.\w+"
)
"""What may be named and is never called."""
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
    """Raises `Foreign` for what is not known here."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    full = f"{module}.{name}".replace("numpy._core.", "numpy.core.").replace("pathlib._local.", "pathlib.")
    if full not in _CALLS and full not in _FIELDS and not _CONSTANTS.fullmatch(full):
        raise Foreign(f"{module}.{name}")
    return Name(full)


def storage(identity: Any) -> Storage:
    """Of a persistent identity: ("storage", type, key, location, count, view). Raises `Refused` for another one."""
    if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or identity[0] not in ("storage", b"storage"):
        raise Refused("refers to something else than a tensor's storage")
    _, kind, key, _, count, *view = identity
    match = _STORAGE.fullmatch(kind.full) if isinstance(kind, Name) else None
    dtype = _STORED.get(match.group(1) or match.group(2)) if match else None
    if dtype is None or not whole(count):
        raise Refused("describes a tensor's storage in no way that torch.save does")
    if view and view[0] is not None:
        raise Refused("has a storage inside another one, as PyTorch before 0.4 wrote it")
    return Storage(str(key_text(key)), dtype, count)


# -------------------------------------------------------------------------------------------------------------------- calls


def called(name: Name, arguments: tuple[Any, ...], spend: Callable[[int], None]) -> Any:
    """What the call of an imported name gives. `spend` is told how much is copied. Raises `Foreign`, or `Refused` for arguments
    that it does not take."""
    if name.full in _FIELDS:
        return _fields(arguments, spend)
    call = _CALLS.get(name.full)
    if call is None:
        raise Foreign(name.full)
    for each in arguments:
        spend(len(each) >> 4 if isinstance(each, (str, bytes)) else len(each) if isinstance(each, (list, tuple)) else 0)
    try:
        return call(*arguments)
    except (TypeError, ValueError, OverflowError, LookupError) as error:
        raise Refused(f"calls {name.full} with arguments that it does not take") from error


def made(name: Any, arguments: Any, spend: Callable[[int], None]) -> Any:
    """What `__new__` of an imported class gives, or its call."""
    if not isinstance(name, Name) or not isinstance(arguments, tuple):
        raise Refused("calls something that it did not import")
    return called(name, arguments, spend)


def built(value: Any, state: Any, spend: Callable[[int], None]) -> Any:
    """What an object is once it has its state."""
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
        return value if order in ("<", "|", "=") else Unsaid("dtype")
    if isinstance(value, (dict, list, Described, Unsaid, str)):
        return value  # attributes of an OrderedDict, of a parameter and the like
    raise Refused(f"gives a state to a {type(value).__name__}")


def _fields(arguments: tuple[Any, ...], spend: Callable[[int], None]) -> Fields:
    made = Fields()
    for each in arguments:
        if isinstance(each, dict):
            spend(len(each))
            made.update(each)
    return made


def _ordered(*arguments: Any) -> dict[str, Any]:
    """Python 2 gave an OrderedDict its pairs; since then they come one by one."""
    pairs = arguments[0] if arguments else []
    if isinstance(pairs, dict):
        return pairs
    items: dict[str, Any] = {}
    for key, value in pairs:
        set_items(items, (key, value))
    return items


def _described(
    source: Any, offset: Any, size: Any, stride: Any, dtype: str | None = None, metadata: Any = None, problem: str = ""
) -> Described:
    """A tensor of a storage's elements. Dimensions that nothing could have are a problem of the tensor, not of the file."""
    shape = extents_of(size)
    if not isinstance(source, Storage) or shape is None:
        return Described(shape or (0,), "float32", problem=problem or "described in no way that torch.save does")
    strides = wholes(stride)
    if strides is None or len(strides) != len(shape) or not whole(offset):
        problem = problem or "laid out in no way that a tensor can be"
    if isinstance(metadata, dict) and any(metadata.values()):
        problem = problem or f"stored {' and '.join(sorted(map(str, metadata)))[:40]}, which is undone as it is used"
    dtype = dtype or source.dtype
    # The key's storage counts in elements of its own type, which an untyped one's tensor need not have.
    claimed = source.count * ITEM_BYTES.get(source.dtype, 1)
    return Described(shape, dtype, strides or (), offset if whole(offset) else 0, source.key, claimed, problem)


def _tensor(source: Any, offset: Any, size: Any, stride: Any, *others: Any) -> Described:
    return _described(source, offset, size, stride, metadata=others[2] if len(others) > 2 else None)


def _tensor_of_type(source: Any, offset: Any, size: Any, stride: Any, *others: Any) -> Described:
    dtype = others[2] if len(others) > 2 else None
    if not isinstance(dtype, Name):
        raise TypeError
    name = dtype.full.removeprefix("torch.")
    return _described(source, offset, size, stride, name, others[3] if len(others) > 3 else None)


def _parameter(data: Any = None, *_: Any) -> Described:
    if not isinstance(data, Described):
        raise TypeError
    return data


def _with_attributes(function: Any, kind: Any, arguments: Any, _: Any) -> Described:
    """A tensor that somebody gave attributes to. One of a class of its own computes in a way of its own."""
    if not isinstance(function, Name) or not isinstance(kind, Name) or function.full not in _REBUILDING:
        raise TypeError
    if kind.full not in ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"):
        return Described((0,), "float32", problem="a tensor of a class of its own")
    return _REBUILDING[function.full](*arguments)


def _sparse(_: Any, data: Any) -> Described:
    sizes = [shape for each in data[:4] if isinstance(each, tuple) and (shape := extents_of(each)) is not None]
    return Described(sizes[-1] if sizes else (0,), "float32", problem="a sparse tensor")


def _odd(kind: str, size: int | None = None) -> Callable[..., Described]:
    def make(*arguments: Any) -> Described:
        shape = extents_of(arguments[size]) if size is not None and len(arguments) > size else None
        return Described(shape or (0,), "float32", problem=kind)

    return make


def _bytes(value: Any = b"", encoding: Any = "latin-1", *_: Any) -> bytes:
    if isinstance(value, str) and encoding in ("latin-1", "latin1", "utf-8", "ascii"):
        return value.encode(encoding, "replace")
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _items(value: Any = (), *_: Any) -> Any:
    """Sets and sizes are the very sequence that they are made of: nothing is copied."""
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


def _dtype(code: Any, *_: Any) -> Name | Unsaid:
    text = code.decode("ascii") if isinstance(code, bytes) else str(code)
    return Name(f"numpy.dtype {text}") if re.fullmatch(r"[<|=]?(f[248]|[iu][1248]|b1|\?)", text) else Unsaid("dtype")


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, Name) or not isinstance(data, (bytes, str)):
        return Unsaid("NumPy scalar")
    return _numbers(dtype, _bytes(data), ())


def _array(state: Any, spend: Callable[[int], None]) -> Any:
    if not isinstance(state, tuple) or len(state) != 5:
        raise Refused("describes a NumPy array in no way that NumPy does")
    _, size, dtype, fortran, data = state
    if isinstance(data, (str, bytes)):
        spend(len(data) >> 1)
    shape = extents_of(size)
    if shape is None or not isinstance(dtype, Name) or not isinstance(data, (bytes, str)) or (fortran and len(shape) > 1):
        return Unsaid("NumPy array")
    return _numbers(dtype, _bytes(data), shape)


def _from_buffer(data: Any, dtype: Any, size: Any, order: Any, *_: Any) -> Any:
    """How protocol 5 makes an array."""
    shape = extents_of(size)
    if shape is None or not isinstance(dtype, Name) or (order != "C" and len(shape) > 1):
        return Unsaid("NumPy array")
    return _numbers(dtype, _bytes(data), shape)


def _numbers(dtype: Name, data: bytes, shape: tuple[int, ...]) -> Any:
    import numpy as np

    if not dtype.full.startswith("numpy.dtype ") or len(data) > 8 * _ARRAY_ELEMENTS:
        return Unsaid("NumPy array")
    try:
        return np.frombuffer(data, np.dtype(dtype.full.removeprefix("numpy.dtype "))).reshape(shape).tolist()
    except ValueError as error:
        raise Refused("holds a NumPy array whose bytes are not those of its shape") from error


def _reconstructed(kind: Any, *_: Any) -> Any:
    """How protocols before 2 make an object."""
    if not isinstance(kind, Name) or kind.full not in _FIELDS:
        raise Foreign(kind.full if isinstance(kind, Name) else "copyreg._reconstructor")
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
"""Classes that configurations are kept in. Of an object of one of them its attributes and items are read."""
_REBUILDING: dict[str, Callable[..., Described]] = {
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
    "builtins.complex": lambda *_: Unsaid("complex number"),
    "builtins.slice": lambda *_: Unsaid("slice"),
    "builtins.range": lambda *_: Unsaid("range"),
    "_codecs.encode": _bytes,
    "copyreg._reconstructor": _reconstructed,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.nn.parameter.Parameter": _parameter,
    "torch._utils._rebuild_qtensor": _odd("a quantised tensor", 2),
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_nested_tensor": _odd("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _odd("a meta tensor, which has no values", 1),
    "torch._utils._rebuild_wrapper_subclass": _odd("a tensor of a class of its own", 2),
    "torch._utils._rebuild_device_tensor_from_numpy": _odd("a tensor of another device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _odd("a tensor of another device"),
    "torch._utils._rebuild_xla_tensor": _odd("a tensor of another device"),
    "torch.storage._load_from_bytes": lambda *_: Unsaid("pickle inside a pickle"),
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
    "uuid.UUID": lambda *_: Unsaid("UUID"),
    **{f"datetime.{kind}": lambda *_: Unsaid("time") for kind in ("datetime", "date", "time", "timedelta", "timezone")},
}
"""What is called in trainers' files, and what edgec makes of the call."""
