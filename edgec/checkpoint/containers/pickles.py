"""A pickle read without being run: its opcodes make plain values and descriptions of tensors, and nothing else.

Python's own opcode parser (`pickletools.genops`) reads them; `edgec.checkpoint.containers.calls` says what names and calls
become. Steps, bytes and numbers are bounded, and no object from the file is hashed, compared or called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import IO, Any, BinaryIO, cast

from edgec.checkpoint.containers import calls
from edgec.checkpoint.containers.objects import Fields, ForbiddenImport, Name, Storage, kind_of, set_items
from edgec.untrusted import Refused

PICKLE_LIMIT = 64 << 20
"""Bytes. A training file's optimiser and its history take some megabytes."""
STEPS = 2_000_000
NESTING = 10_000
"""Marks that may be open at once: each is a value inside another, and Python's own pickler stops at a thousand."""
_BITS = 1024
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_PLAIN_TYPES = ("int", "int_or_bool", "float", "str", "bytes", "bytearray", "bytes_or_str")
_PLAIN = frozenset(
    code.name
    for code in pickletools.opcodes
    if code.arg is not None and not code.stack_before and code.stack_after and code.stack_after[0].name in _PLAIN_TYPES
)
"""Opcodes that push their own argument."""


class Window:
    """A file of which at most `limit` bytes can be read. A request for more is refused before anything is read."""

    def __init__(self, file: BinaryIO, limit: int = PICKLE_LIMIT) -> None:
        self._file = file
        self._left = limit

    def read(self, size: int | None = -1) -> bytes:
        """As of a file. Raises `Refused` for more than is left of the limit."""
        if size is None or size < 0 or size > self._left:
            raise Refused("holds a pickle that is larger than any checkpoint's")
        content = self._file.read(size)
        self._left -= len(content)
        return content

    def readline(self, size: int | None = -1) -> bytes:
        """As of a file, up to what is left of the limit, and never more than a megabyte."""
        line = self._file.readline(min(self._left, 1 << 20))
        self._left -= len(line)
        return line


def read_pickle(file: Window) -> tuple[Any, dict[str, Storage]]:
    """The value of the pickle that begins here, and the storages that it refers to. The file is left behind its end.

    Raises `ForbiddenImport` for a name that no checkpoint needs, `Refused` for a pickle that is damaged or too large.
    """
    machine = _Machine()
    try:
        for code, argument, _ in pickletools.genops(cast("IO[bytes]", file)):
            if code.name == "STOP":
                return machine.stack.pop(), machine.storages
            machine.step(code.name, argument)
    except (ForbiddenImport, Refused):
        raise
    except Exception as error:  # a damaged pickle fails in any way that a parser can
        raise Refused(f"is no sound pickle: {type(error).__name__}: {error}") from error
    raise Refused("holds a pickle without an end")


class _Machine:
    """The pickle machine: a stack, the stacks below marks, and a memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.left = STEPS
        self.actions: dict[str, Callable[[Any], None]] = {
            name.removeprefix("_op_").upper(): getattr(self, name) for name in dir(self) if name.startswith("_op_")
        }

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise Refused("holds a pickle of more steps than any checkpoint's")

    def step(self, name: str, argument: Any) -> None:
        self.spend(1)
        if name in _PLAIN:
            if isinstance(argument, int) and argument.bit_length() > _BITS:
                raise Refused(f"holds a whole number of {argument.bit_length():,} bits")
            self.stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in self.actions:
            self.actions[name](argument)
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"holds a pickle with {name}, which torch.save does not write")

    def pop(self) -> Any:
        return self.stack.pop()

    def marked(self) -> list[Any]:
        """Pops everything above the last mark, and the mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def push_last(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise IndexError(count)
        self.stack[-count:] = [items]

    def add_items(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, Fields):  # a ListConfig
            return
        if not isinstance(target, list):
            raise Refused(f"appends to a {kind_of(target)}")
        target.extend(items)

    # ------------------------------------------------------------------------------------------------------------ the opcodes

    def _op_mark(self, _: Any) -> None:
        if len(self.below) >= NESTING:
            raise Refused("holds a pickle that nests values more deeply than any checkpoint")
        self.below.append(self.stack)
        self.stack = []

    def _op_pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.marked()

    def _op_pop_mark(self, _: Any) -> None:
        self.marked()

    def _op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _op_empty_list(self, _: Any) -> None:
        self.stack.append([])

    _op_empty_set = _op_empty_list

    def _op_empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _op_list(self, _: Any) -> None:
        items = self.marked()
        self.stack.append(items)

    _op_frozenset = _op_list

    def _op_dict(self, _: Any) -> None:
        items, target = self.marked(), dict[str, Any]()
        set_items(target, items)
        self.stack.append(target)

    def _op_tuple(self, _: Any) -> None:
        items = self.marked()
        self.stack.append(tuple(items))

    def _op_tuple1(self, _: Any) -> None:
        self.push_last(1)

    def _op_tuple2(self, _: Any) -> None:
        self.push_last(2)

    def _op_tuple3(self, _: Any) -> None:
        self.push_last(3)

    def _op_append(self, _: Any) -> None:
        item = self.pop()
        self.add_items(self.stack[-1], [item])

    def _op_appends(self, _: Any) -> None:
        items = self.marked()
        self.add_items(self.stack[-1], items)

    _op_additems = _op_appends

    def _op_setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        set_items(self.stack[-1], [key, value])

    def _op_setitems(self, _: Any) -> None:
        items = self.marked()
        set_items(self.stack[-1], items)

    def _op_put(self, number: Any) -> None:
        self.memo[int(number)] = self.stack[-1]

    _op_binput = _op_long_binput = _op_put

    def _op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _op_get(self, number: Any) -> None:
        self.stack.append(self.memo[int(number)])

    _op_binget = _op_long_binget = _op_get

    def _op_global(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(calls.imported(module, name))

    def _op_stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Refused("imports something that has no name")
        self.stack.append(calls.imported(module, name))

    def _op_binpersid(self, _: Any) -> None:
        storage = calls.storage(self.pop())
        self.storages.setdefault(storage.key, storage)
        self.stack.append(storage)

    def _op_reduce(self, _: Any) -> None:
        arguments, name = self.pop(), self.pop()
        self.stack.append(calls.made(name, arguments, self.spend))

    _op_newobj = _op_reduce

    def _op_newobj_ex(self, _: Any) -> None:
        keywords, arguments, name = self.pop(), self.pop(), self.pop()
        if keywords:
            raise Refused("makes an object with named arguments")
        self.stack.append(calls.made(name, arguments, self.spend))

    def _op_inst(self, argument: Any) -> None:
        items = self.marked()
        module, _, name = str(argument).partition(" ")
        self.stack.append(calls.made(calls.imported(module, name), tuple(items), self.spend))

    def _op_obj(self, _: Any) -> None:
        name, *arguments = self.marked()
        self.stack.append(calls.made(name if isinstance(name, Name) else None, tuple(arguments), self.spend))

    def _op_build(self, _: Any) -> None:
        state = self.pop()
        self.stack[-1] = calls.built(self.stack[-1], state, self.spend)
