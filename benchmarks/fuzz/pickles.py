"""Pickles that nobody's program wrote: opcodes drawn at random, and small ones that ask for much. None runs code if it is opened;
what torch's own reader lets through is used against it."""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

_ALLOWED = (
    b"ccollections\nOrderedDict\n",
    b"ccollections\nCounter\n",
    b"ctorch\nTensor\n",
    b"ctorch\nSize\n",
    b"ctorch\ndevice\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch._utils\n_rebuild_sparse_tensor\n",
    b"ctorch._utils\n_rebuild_qtensor\n",
    b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n",
    b"ctorch._utils\n_rebuild_nested_tensor\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"ctorch.nn.parameter\nParameter\n",
    b"ctorch.serialization\n_get_layout\n",
    b"c_codecs\nencode\n",
    b"cbuiltins\nbytearray\n",
    b"cbuiltins\nset\n",
    b"cbuiltins\ncomplex\n",
)
"""What `weights_only=True` calls."""
_FORBIDDEN = (b"cos\nsystem\n", b"cbuiltins\neval\n", b"cnumpy\nndarray\n", b"ctimm.models\nVit\n", b"c\x1b[31m\n\x1b]0;x\x07\n")
_NAME = b"X\x22\x00\x00\x00embeddings.patch_embeddings.weight"


def _integer(number: int) -> bytes:
    length = number.bit_length() // 8 + 1
    return b"\x8b" + struct.pack("<i", length) + number.to_bytes(length, "little", signed=True)


def _soup(random: Random) -> bytes:
    """Any opcodes, with arguments of about the right form."""
    parts = [b"\x80\x02"]
    for _ in range(random.choice((5, 40, 400))):
        opcode = random.choice(pickletools.opcodes)
        parts.append(opcode.code.encode("latin-1") + _argument(random, opcode))
        if random.random() < 0.2:
            parts.append(random.choice((*_ALLOWED, *_FORBIDDEN)))
    return b"".join(parts) + b"."


def _argument(random: Random, opcode: Any) -> bytes:
    if opcode.arg is None:
        return b""
    size: int = opcode.arg.n
    if size > 0:
        return random.choice((bytes(size), b"\x01" + bytes(size - 1), b"\xff" * size, random.randbytes(size)))
    if size == pickletools.UP_TO_NEWLINE:
        return random.choice((b"1\n", b"-1\n", b"9" * 5000 + b"\n", b"a\n", b"a\nb\n", b"1e999\n", b"'x'\n"))
    width = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}.get(size, 4)
    length = random.choice((0, 3, 3, 3, 200))
    stated_length = random.choice((length, length, length, 2 ** (8 * width) - 1))
    return stated_length.to_bytes(width, "little") + b"x" * length


def _deep(random: Random) -> bytes:
    """A tuple in a tuple in a tuple, as a key or as a value."""
    depth = random.choice((100, 5_000, 300_000, 1_000_000))
    nest = random.choice((b")" + b"\x85" * depth, b"]" * depth + b"a" * (depth - 1), b")" + b"\x85" * depth))
    item = nest + b"K\x01" if random.random() < 0.5 else _NAME + nest
    return b"\x80\x02}" + item + b"s."


def _doubling(random: Random) -> bytes:
    """Each list or tuple holds the one before twice: short to write, endless to walk or to hash."""
    times = random.choice((20, 30, 64, 200))
    step = b"q\x01h\x01h\x01\x86"
    body = b")" + step * times
    return b"\x80\x02}" + (_NAME + body if random.random() < 0.5 else body + b"K\x01") + b"s."


def _cheap(random: Random) -> bytes:
    """Many small values."""
    unit = random.choice((b"N0", b"K\x01a", b"]a", b"}a", b"(ta", b")0", b"ccollections\nOrderedDict\n)R0"))
    return b"\x80\x02}" + _NAME + b"]" + unit * random.choice((1000, 300_000, 3_000_000)) + b"s."


def _greedy(random: Random) -> bytes:
    """A function that torch's reader calls, with arguments that ask for much."""
    numbers = (0, 1, -1, 2**31, 2**34, 2**40, 2**62, 2**63, 10**400)
    function = random.choice(_ALLOWED)
    arguments_drawn = b"".join(
        random.choice(
            (_integer(random.choice(numbers)), b"N", b")", b"]", b"}", b"X\x04\x00\x00\x00meta", random.choice(_ALLOWED))
        )
        for _ in range(random.choice((1, 1, 2, 4, 6)))
    )
    shape = b"(" + b"".join(_integer(random.choice(numbers)) for _ in range(random.choice((1, 2, 4)))) + b"t"
    arguments = random.choice((b"(" + arguments_drawn + b"t", b"(" + shape + b"t", b"(" + arguments_drawn + shape + shape + b"t"))
    return b"\x80\x02}" + _NAME + function + arguments + b"Rs."


def _mapping(random: Random) -> bytes:
    """A dictionary that holds itself, or with keys of every kind."""
    if random.random() < 0.3:
        return b"\x80\x02}q\x00" + _NAME + b"h\x00s."
    keys = (
        b"N",
        b"K\x01",
        b"G\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b")",
        b"(N)t",
        b"\x88",
        _NAME,
        b"X\x00\x00\x00\x00",
        _integer(10**400),
    )
    return b"\x80\x02}(" + b"".join(random.choice(keys) + random.choice((b"}", b"]", b"N")) for _ in range(50)) + b"u."


_MAKERS: tuple[Callable[[Random], bytes], ...] = (_soup, _soup, _deep, _doubling, _cheap, _greedy, _greedy, _mapping)


def pickle_of(random: Random) -> bytes:
    """One pickle, drawn among all kinds."""
    return random.choice(_MAKERS)(random)


def in_a_zip(pickled: bytes, storages: int = 2) -> bytes:
    """As torch.save would write it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for number in range(storages):
            archive.writestr(f"archive/data/{number}", bytes(4096))
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def in_legacy_form(pickled: bytes) -> bytes:
    """Magic number, version and system, then the object, then the keys of its storages."""
    import pickle

    head = [pickle.dumps(each, protocol=2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join(head) + pickled + pickle.dumps([], protocol=2)


def with_pickle_changed(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A zip of torch.save's with other bytes as its pickle; the checksum is right again."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(file, "w") as archive:
        for entry in source.infolist():
            content = source.read(entry)
            archive.writestr(entry.filename, change(content) if entry.filename.endswith("data.pkl") else content)
    return file.getvalue()
