"""safetensors: a JSON header that names every tensor, and their bytes behind it.

Not read with the library of that name: that refuses a whole file for one tensor of a type that it does not know, and says less
about what is wrong. Here such a tensor has a `problem`, and the others can be used.
"""

from __future__ import annotations

import os
import re
from typing import Any

from edgec.checkpoint.containers.objects import NAME_LIMIT, extents_of, wholes
from edgec.checkpoint.containers.tensors import Extent, StoredTensor, contiguous
from edgec.checkpoint.containers.tree import MOST_TENSORS, Container, Tree
from edgec.untrusted import Refused, parse_json_object

_HEADER_LIMIT = 16 << 20
"""Bytes of a header; 3,000 tensors take a third of a megabyte."""
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_OTHER_DTYPES = re.compile(r"[FIUC]\d{1,3}(_\w{1,12})?")


def read_safetensors(descriptor: int) -> Container:
    """What the header describes. Raises `Refused` unless the tensors fill the file exactly, without overlap."""
    size = os.fstat(descriptor).st_size
    length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    if length > size - 8:
        raise Refused(f"has a header that does not fit into it: {length:,} bytes of {size:,}")
    if length > _HEADER_LIMIT:
        raise Refused(f"has a larger header than any checkpoint: {length:,} bytes")
    header = parse_json_object(os.pread(descriptor, length, 8))
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise Refused("has metadata that is not a list of texts")
    if len(header) > MOST_TENSORS:
        raise Refused(f"holds more tensors than any checkpoint: {len(header):,}")
    tree = Tree(statements={"__metadata__": texts} if texts else {})
    extents: dict[str, Extent] = {}
    for name, entry in header.items():
        if len(name) > NAME_LIMIT:
            raise Refused(f"has a tensor whose name has {len(name):,} characters")
        tree.tensors[name], extents[name] = _entry(name, entry, 8 + length)
    end = 8 + length
    for extent in sorted(extents.values(), key=lambda each: (each.start, each.size)):
        if extent.start != end:
            raise Refused("has tensors that overlap, or bytes that belong to none")
        end += extent.size
    if end != size:
        raise Refused(f"has tensors of {end - 8 - length:,} bytes, and {size - 8 - length:,} bytes for them")
    return Container(tree, extents)


def _entry(name: str, entry: Any, start: int) -> tuple[StoredTensor, Extent]:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        raise Refused(f"does not describe the tensor {name[:80]!a}")
    shape, offsets = extents_of(entry.get("shape")), wholes(entry.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise Refused(f"does not describe the tensor {name[:80]!a}")
    extent = Extent(start + offsets[0], offsets[1] - offsets[0])
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None and not _OTHER_DTYPES.fullmatch(entry["dtype"]):
        raise Refused(f"has a tensor of an unknown type: {entry['dtype'][:20]!a}")
    if dtype is None:
        return StoredTensor(shape, "float32", problem=f"a tensor of {entry['dtype'][:20]}"), extent
    stored = StoredTensor(shape, dtype, contiguous(shape), 0, name, extent.size)
    if stored.bytes != extent.size:
        raise Refused(f"says {stored.bytes:,} bytes of the tensor {name[:80]!a}, and has {extent.size:,}")
    return stored, extent
