"""Names that are short and still tell things apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgec.records.reading import printable

_TAIL = re.compile(r"but-last-(\d+)")


def short_names(paths: Sequence[Path]) -> list[str]:
    """The paths without what all have in common: the last part of each, and more where these are the same."""
    whole = [path.absolute() for path in paths]
    for parts in range(1, max((len(path.parts) for path in whole), default=1)):
        names = ["/".join(path.parts[-parts:]) for path in whole]
        if len(set(names)) == len(set(whole)):
            return names
    return [str(path) for path in whole]


def precision_words(candidate: str, precision: str) -> str:
    """A candidate's precision, and what its name says of exceptions, in plain words."""
    tail = _TAIL.search(candidate)
    return f"{precision}, all but the last {tail[1]} products" if tail else precision


def candidate_words(candidate: str, precision: str) -> str:
    """A candidate's name, and what it says in plain words where that is not plain."""
    words = precision_words(candidate, precision)
    return printable(candidate if words == precision else f"{candidate} ({words})")
