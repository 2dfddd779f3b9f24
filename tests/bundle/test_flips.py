"""Single bits of a bundle: none may change unnoticed, and `model-signing` agrees about every file that it covers."""

from __future__ import annotations

import random
import shutil
import tarfile
from pathlib import Path

import pytest

from edgec.bundle.trusting import verify_signature
from edgec.errors import Untrusted
from edgec.onboard.container import SIGNATURE, is_measurement
from edgec.onboard.trust import Policy
from tests.bundle.conftest import Key, model_signing_accepts

FLIPS = 1000


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        value = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([value ^ 1 << bit % 8]))


def spread(bundle: Path) -> list[int]:
    """Bits to flip: a tenth in the headers of files, the rest anywhere."""
    draw = random.Random(16)
    with tarfile.open(bundle) as archive:
        headers = [member.offset for member in archive.getmembers()]
    anywhere = draw.sample(range(bundle.stat().st_size * 8), FLIPS - FLIPS // 10)
    return [(draw.choice(headers) + draw.randrange(512)) * 8 + draw.randrange(8) for _ in range(FLIPS // 10)] + anywhere


def test_a_thousand_flips_of_a_bundle_are_refused(bundle: Path, key: Key, tmp_path: Path) -> None:
    copy = Path(shutil.copy(bundle, tmp_path / "flipped.edgec-bundle"))
    policy = Policy(key.trust)
    for bit in spread(bundle):
        flip(copy, bit)
        with pytest.raises(Untrusted):
            verify_signature(copy, policy)
        flip(copy, bit)
    verify_signature(copy, policy)


def test_model_signing_agrees_on_a_thousand_flips(unpacked: Path, key: Key) -> None:
    """Of the files that the release's signature covers, small ones as often as large ones."""
    policy, draw = Policy(key.trust), random.Random(17)
    files = [path for path in unpacked.rglob("*") if path.is_file()]
    covered = sorted(
        path for path in files if not is_measurement(path.relative_to(unpacked).as_posix()) and path.suffix != ".sig"
    )
    for _ in range(FLIPS):
        path = draw.choice(covered)
        bit = draw.randrange(path.stat().st_size * 8)
        flip(path, bit)
        with pytest.raises(Untrusted):
            verify_signature(unpacked, policy)
        assert not model_signing_accepts(unpacked, key.public)
        flip(path, bit)
    verify_signature(unpacked, policy)
    assert model_signing_accepts(unpacked, key.public)


def test_every_bit_of_the_signature_counts(unpacked: Path, key: Key) -> None:
    """In a file of its own, of whose JSON model-signing does not check every byte; what it refuses, edgec refuses."""
    path, draw = unpacked / SIGNATURE, random.Random(18)
    for bit in draw.sample(range(path.stat().st_size * 8), 60):
        flip(path, bit)
        with pytest.raises(Untrusted):
            verify_signature(unpacked, Policy(key.trust))
        flip(path, bit)
    verify_signature(unpacked, Policy(key.trust))
