"""What a pickle would import, read from its opcodes. Nothing is unpickled here."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

_PICKLES = 8
"""A file of `torch.save` before 1.6 is several pickles, one after another."""
_RECORD_LIMIT = 64 << 20
_OWN = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|torch\._utils\._rebuild_\w+|torch\.\w+|torch\.(storage|serialization)\.\w+"
)
"""What pickles of tensors and bytes name. `torch.load` refuses some of these too; it is then the one to name them."""


def foreign_global(path: Path) -> str | None:
    """The first name, `module.function`, that the pickles in `path` import and that no tensor needs; None if there is none."""
    # Opcodes of a damaged pickle fail in any way that a parser can; they then name nothing.
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
            file.seek(0)
            names = _zipped(path) if zipped else _consecutive(io.BytesIO(file.read(_RECORD_LIMIT)))
            return _first_foreign(names)
    except Exception:
        return None


def _first_foreign(names: Iterator[str]) -> str | None:
    return next((name for name in names if not _OWN.fullmatch(name)), None)


def _zipped(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl") and entry.file_size <= _RECORD_LIMIT:
                yield from _imports(io.BytesIO(archive.read(entry)))


def _consecutive(file: io.BytesIO) -> Iterator[str]:
    for _ in range(_PICKLES):
        yield from _imports(file)


def _imports(file: io.BytesIO) -> Iterator[str]:
    """Follows just enough of the stack to know the two strings that STACK_GLOBAL takes."""
    strings: list[str] = []
    memo: dict[int, str] = {}
    for code, argument, _ in pickletools.genops(file):
        if code.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif code.name == "STACK_GLOBAL" and len(strings) >= 2:
            yield ".".join(strings[-2:])
        elif "UNICODE" in code.name or "STRING" in code.name:
            strings.append(str(argument))
        elif code.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif code.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument or 0)] = strings[-1] if strings else ""
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            strings.append(memo.get(int(argument or 0), ""))
