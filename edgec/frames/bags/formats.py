"""Which files and folders are bags, by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePath

SUFFIXES = frozenset({".bag", ".mcap", ".db3"})
METADATA = "metadata.yaml"
"""What ROS 2 writes beside a bag's files when it has stored the last of them."""
_COMPRESSED = ".zstd"


class UnusableBag(Exception):
    """Why nothing can be read from a bag, and what to do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


def is_storage(name: str) -> bool:
    """Whether a file of this name is a bag, or a part of a ROS 2 bag, perhaps compressed."""
    path = PurePath(name.lower().removesuffix(_COMPRESSED))
    return path.suffix in SUFFIXES and not name.startswith(".")


def is_bag_folder(names: Iterable[str]) -> bool:
    """Whether a folder with files of these names is a ROS 2 bag."""
    listed = list(names)
    return METADATA in listed and any(is_storage(name) for name in listed)


def parts_of(path: Path) -> list[Path]:
    """The files that a bag consists of: itself, or the metadata and the storage files in its folder, in order of their names."""
    from edgec.frames.collecting import natural

    if not path.is_dir():
        return [path]
    names = [name for name in os.listdir(path) if name == METADATA or is_storage(name)]  # noqa: PTH208 - names suffice
    return [path / name for name in sorted(names, key=natural)]
