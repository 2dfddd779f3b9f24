"""What Debian's `rauc bundle` makes of a release. `tests/bundle/test_ota.py` has what needs no such program."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ota.releases import NAME, NEW, Releases, debians_programs
from edgec.bundle.keys import Signer
from edgec.bundle.ota.packer import Payload, Wish
from edgec.bundle.ota.registry import PACKERS
from edgec.bundle.packing import make_bundle
from edgec.errors import EdgecError
from edgec.onboard.trust import Release


def test_the_file_system_is_the_same_each_time(releases: Releases, forms: Callable[..., Path], tmp_path: Path) -> None:
    bundle, pair = forms(NEW) / f"{NAME}-{NEW}.edgec-bundle", releases.pair("rauc")
    wish = Wish(PACKERS["rauc"], {"key": pair.key, "certificate": pair.certificate, "format": "plain"})
    made = []
    for umask in (0o022, 0o077):
        place = tmp_path / str(umask)
        place.mkdir()
        before = os.umask(umask)
        try:
            with debians_programs(releases.folder):
                content = wish.pack(Payload(bundle, Release(NAME, NEW, 1)), bundle, place).read_bytes()
        finally:
            os.umask(before)
        signature = int.from_bytes(content[-8:], "big")  # its size is what a bundle of RAUC's ends with
        made.append(content[: -8 - signature])
    assert made[0] == made[1]


def test_what_rauc_says_is_passed_on_and_nothing_is_left(releases: Releases, tmp_path: Path) -> None:
    """A certificate of another key."""
    pairs = releases.pair("rauc"), releases.pair("rauc", foreign=True)
    wish = Wish(PACKERS["rauc"], {"key": pairs[0].key, "certificate": pairs[1].certificate})
    place = tmp_path / f"{NAME}-{NEW}.edgec-bundle"
    with debians_programs(releases.folder), pytest.raises(EdgecError, match="rauc bundle ended with code 1") as raised:
        make_bundle(releases.artefact(NEW), place, Signer(releases.key), wishes=[wish])
    assert raised.value.evidence
    assert list(tmp_path.iterdir()) == []
