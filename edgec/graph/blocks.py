"""The blocks of a backbone, by the names of its operations: `blocks.3.attn.q`, `stages.1.layers.0.pwconv1`."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BLOCK = re.compile(r"(?:stages\.\d+\.)?(?:blocks|layers)\.\d+(?=\.)")


def block_of(name: str) -> str:
    """What the names of all operations of its block begin with, e.g. `blocks.3`; empty outside of blocks."""
    match = _BLOCK.match(name)
    return match.group() if match else ""


def numbered_blocks(names: Iterable[str]) -> dict[str, int]:
    """The blocks of these operations, counted from 0 in the order in which they come."""
    return {block: index for index, block in enumerate(dict.fromkeys(filter(None, map(block_of, names))))}
