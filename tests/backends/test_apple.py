"""Profiles of Apple's chips, and the family that `--target apple` means."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.backends.apple.choosing import order
from edgec.backends.profiles import family, list_profiles, missing, resolve
from edgec.errors import TargetError
from edgec.lowering.coreml import CoreMl
from tests.backends.test_resolve import HERE

CHIPS = {profile.name: profile for profile in list_profiles() if profile.family == "apple"}


def test_the_family_is_every_m_series() -> None:
    assert [profile.name for profile in family("apple")] == [f"apple-m{number}" for number in range(1, 6)]
    assert {"apple-a17pro", "apple-a18", "apple-a19"} == set(CHIPS) - {profile.name for profile in family("apple")}
    with pytest.raises(TargetError, match="a family of 5 targets") as caught:
        resolve("apple", HERE)
    assert "--target apple" in caught.value.remedy


@pytest.mark.parametrize("name", CHIPS)
def test_each_chip_says_what_core_ml_finds_there(name: str) -> None:
    profile = CHIPS[name]
    chip = profile.apple
    assert chip is not None
    assert set(chip.minimum_os) == ({"ios", "macos"} if name.startswith("apple-m") else {"ios"})
    assert chip.compute_units[0] == "neural-engine"
    assert chip.w8a8_pays == ("int8" in profile.precisions) == (name not in ("apple-m1", "apple-m2", "apple-m3"))
    assert set(profile.precisions) <= set(CoreMl.precisions)
    assert missing(profile, HERE) == (profile.title,)


def test_w8a8_comes_first_only_where_it_pays_everywhere() -> None:
    assert order([CHIPS["apple-m4"], CHIPS["apple-a17pro"]])[:2] == ("int8", "w8")
    assert order(family("apple"))[:3] == ("w8", "fp16", "int8")
    for devices in (family("apple"), [CHIPS["apple-m5"]]):
        assert sorted(order(devices)) == sorted(CoreMl.precisions)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("[apple]\nminimum_os = { ios = '17.0' }\n", "packages need ios 18.0 or later"),
        ("[apple]\ncompute_units = ['abacus']\n", "compute_units"),
        ("[apple]\nwheels = 4\n", "wheels"),
        ("isa = ['asimddp']\n", "isa: profiles of the family 'apple' have no such key"),
    ],
)
def test_a_profile_of_one_s_own_is_checked(tmp_path: Path, said: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "apple-m4"\nname = "mine"\ntitle = "Mine"\n' + said)
    with pytest.raises(TargetError) as caught:
        resolve(str(path), HERE)
    assert complaint in str(caught.value)
