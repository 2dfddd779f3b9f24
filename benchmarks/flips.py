"""Single bits flipped in files of an artefact, and whether `edgec verify` notices."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgec.errors import EdgecError
from edgec.verifying import verify


@dataclass
class Flips:
    """`unnoticed` and `broken` say where: file, byte and bit. What is broken is a bug of edgec's: another error than its own."""

    tried: int = 0
    unnoticed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def run(artefact: Path, count: int, seed: int, check: Callable[[Path], object] = verify) -> Flips:
    """`count` flips, one at a time, each at a random place of a random file, small ones as often as large ones, of a copy.

    `check` must refuse each with an `EdgecError`. The golden frames run only where nothing was noticed before. Raises what
    `check` does of the artefact as it is.
    """
    chance = random.Random(seed)
    result = Flips()
    with tempfile.TemporaryDirectory(prefix="edgec-flips-") as folder:
        copy = Path(shutil.copytree(artefact, Path(folder, "artefact.edgec")))
        check(copy)
        files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
        for _ in range(count):
            path = chance.choice(files)
            position, bit = chance.randrange(path.stat().st_size), chance.randrange(8)
            where = f"{path.relative_to(copy).as_posix()}, byte {position}, bit {bit}"
            flip(path, position, bit)
            try:
                check(copy)
                result.unnoticed.append(where)
            except EdgecError:
                pass
            except Exception as error:
                result.broken.append(f"{where}: {type(error).__name__}: {error}")
            finally:
                flip(path, position, bit)
            result.tried += 1
    return result


def flip(path: Path, position: int, bit: int) -> None:
    """In place."""
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))
