"""Single bits of a bundle, flipped: who takes it all the same, the workstation or a board's program?"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from edgec.backends.program import BoardProgram
from edgec.backends.registry import all_backends
from edgec.bundle.trusting import trust_in, verify_signature
from edgec.errors import Untrusted
from edgec.onboard.container import Bundle
from edgec.onboard.trust import Policy

_REFUSED = 19
_IN_HEADERS = 10
"""One bit in so many is in what stands around the files."""


def measure_flips(bundle: Path, key: Path, count: int, seed: int = 16) -> None:
    """Flip `count` bits, one after the other, and print how many of the bundles the workstation and the board refused. The
    board's program runs as a process, with a folder that trusts the key. Raises as `verify_signature` for a bundle that is not
    whole."""
    policy = Policy(trust_in([key]))
    verify_signature(bundle, policy)
    with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
        root, flipped = Path(folder, "root"), Path(folder, "flipped.edgec-bundle")
        (root / "trust").mkdir(parents=True)
        shutil.copy(key, root / "trust" / "key.pem")
        shutil.copy(bundle, flipped)
        program = Path(folder, "program")
        _program_of(bundle).unpack(program)
        command = [sys.executable, "-I", "-S", str(program), "check", "--bundle", str(flipped), "--dir", str(root)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise SystemExit("The board's program refuses the bundle as it is.")
        here = there = 0
        for bit in _bits(bundle, count, seed):
            _flip(flipped, bit)
            try:
                verify_signature(flipped, policy)
            except Untrusted:
                here += 1
            there += subprocess.run(command, capture_output=True, check=False).returncode == _REFUSED
            _flip(flipped, bit)
        print(
            f"{bundle.name}, {bundle.stat().st_size:,} bytes: of {count} flips the workstation refused {here}, the board {there}"
        )


def _program_of(bundle: Path) -> BoardProgram:
    with Bundle(bundle) as source:
        programs = [backend.program for backend in all_backends().values()]
        return next(program for program in programs if program is not None and program.path in source.sizes)


def _bits(bundle: Path, count: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    with tarfile.open(bundle) as archive:
        headers = [member.offset for member in archive.getmembers()]
    around = [(draw.choice(headers) + draw.randrange(512)) * 8 + draw.randrange(8) for _ in range(count // _IN_HEADERS)]
    return around + draw.sample(range(bundle.stat().st_size * 8), count - len(around))


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        value = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([value ^ 1 << bit % 8]))
