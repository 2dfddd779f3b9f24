"""What a pickle's names become when it calls them: plain values and descriptions of tensors. No function that it names is run.

A pickle imports names and calls them. The names that trainers' files need are listed here, each with the function that stands for
it. Every other name raises `ForbiddenImport`, and the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from edgec.checkpoint.containers import numpy_calls, torch_calls
from edgec.checkpoint.containers.objects import Array, Fields, ForbiddenImport, Ignored, Name, Storage, key_text, set_items, whole
from edgec.checkpoint.containers.tensors import StoredTensor
from edgec.untrusted import Refused

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
        value.value = numpy_calls.array(state, spend)
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
_CALLS: dict[str, Callable[..., Any]] = {
    **torch_calls.REBUILDING,
    "collections.OrderedDict": _ordered,
    "collections.Counter": _ordered,
    "collections.defaultdict": lambda *_: {},
    "collections.deque": lambda items=(), *_: list(_items(items)),
    "builtins.dict": _ordered,
    "builtins.set": _items,
    "builtins.frozenset": _items,
    "builtins.list": _items,
    "builtins.tuple": _items,
    "builtins.bytes": numpy_calls.as_bytes,
    "builtins.bytearray": numpy_calls.as_bytes,
    "builtins.complex": lambda *_: Ignored("complex number"),
    "builtins.slice": lambda *_: Ignored("slice"),
    "builtins.range": lambda *_: Ignored("range"),
    "_codecs.encode": numpy_calls.as_bytes,
    "copyreg._reconstructor": _reconstructed,
    "torch._tensor._rebuild_from_type_v2": torch_calls.tensor_with_attributes,
    "torch.nn.parameter.Parameter": torch_calls.parameter,
    "torch._utils._rebuild_qtensor": torch_calls.unusable("a quantised tensor", 2),
    "torch._utils._rebuild_sparse_tensor": torch_calls.sparse_tensor,
    "torch._utils._rebuild_nested_tensor": torch_calls.unusable("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": torch_calls.unusable("a meta tensor, which has no values", 1),
    "torch._utils._rebuild_wrapper_subclass": torch_calls.unusable("a tensor of another class than torch.Tensor", 2),
    "torch._utils._rebuild_device_tensor_from_numpy": torch_calls.unusable("a tensor of another device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": torch_calls.unusable("a tensor of another device"),
    "torch._utils._rebuild_xla_tensor": torch_calls.unusable("a tensor of another device"),
    "torch.storage._load_from_bytes": lambda *_: Ignored("pickle inside a pickle"),
    "torch.Size": _items,
    "torch.device": _device,
    "torch.torch_version.TorchVersion": _text,
    "torch.serialization._get_layout": _text,
    "numpy.dtype": numpy_calls.dtype_name,
    "numpy.core.multiarray.scalar": numpy_calls.scalar,
    "numpy.core.multiarray._reconstruct": lambda *_: Array(),
    "numpy.core.numeric._frombuffer": numpy_calls.from_buffer,
    "pathlib.Path": _path,
    "pathlib.PosixPath": _path,
    "pathlib.WindowsPath": _path,
    "pathlib.PurePosixPath": _path,
    "pathlib.PureWindowsPath": _path,
    "uuid.UUID": lambda *_: Ignored("UUID"),
    **{f"datetime.{kind}": lambda *_: Ignored("time") for kind in ("datetime", "date", "time", "timedelta", "timezone")},
}
"""Names that trainers' files call, and what stands for each."""
