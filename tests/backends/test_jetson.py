"""Jetson profiles: boards, power modes and rates, and the family that is built for at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.backends.profile import Profile
from edgec.backends.profiles import family, list_profiles, missing, resolve
from edgec.errors import TargetError
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.rules import newest_known, oldest_known, parse_version
from tests.backends.test_resolve import HERE, host

BOARDS = {profile.name: profile for profile in list_profiles() if profile.family == "jetson"}


def test_the_documented_profiles_exist() -> None:
    assert set(BOARDS) == {"jetson-agx-orin", "jetson-agx-xavier", "jetson-orin-nano", "jetson-orin-nx", "jetson-thor"}


def test_the_family_is_all_of_orin_and_thor() -> None:
    assert [profile.name for profile in family("jetson")] == [
        "jetson-agx-orin",
        "jetson-orin-nano",
        "jetson-orin-nx",
        "jetson-thor",
    ]
    assert {profile.jetson.compute_capability for profile in family("jetson")} == {"8.7", "11.0"}
    for name in ("cpu", "jetson-thor", "", "Jetson"):
        assert family(name) == ()


def test_the_family_is_no_single_profile_and_the_error_names_its_boards() -> None:
    with pytest.raises(TargetError, match="family of 4 targets") as caught:
        resolve("jetson", HERE)
    assert "jetson-orin-nano" in caught.value.evidence[0]


def test_a_misspelt_board_is_answered_with_similar_names() -> None:
    with pytest.raises(TargetError) as caught:
        resolve("jetson-orin-nanno", HERE)
    assert "jetson-orin-nano" in caught.value.evidence[0]
    assert "jetson," in caught.value.evidence[1]


def test_no_host_is_a_board() -> None:
    """Not even one of its architecture: engines are made and measured by the program on the board."""
    for profile in BOARDS.values():
        assert missing(profile, HERE) == (profile.title,)
        assert missing(profile, host("aarch64", "asimd", "asimddp")) == (profile.title,)


def test_a_compatible_string_names_one_board() -> None:
    found = [string for profile in BOARDS.values() for string in profile.jetson.compatible]
    assert len(set(found)) == len(found)
    assert all(string.startswith("nvidia,p") for string in found)


@pytest.mark.parametrize(
    ("strings", "name"),
    [
        ("nvidia,p3768-0000+p3767-0005-super nvidia,p3767-0005 nvidia,tegra234", "jetson-orin-nano"),
        ("nvidia,p3768-0000+p3767-0000 nvidia,p3767-0000 nvidia,tegra234", "jetson-orin-nx"),
        ("nvidia,p3737-0000+p3701-0005 nvidia,p3701-0005 nvidia,tegra234", "jetson-agx-orin"),
        ("nvidia,p3737-0000+p3701-0000 nvidia,p3701-0000 nvidia,tegra234", "jetson-agx-orin"),
        ("nvidia,p4071-0000+p3834-0008 nvidia,p3834-0008 nvidia,tegra264", "jetson-thor"),
        ("nvidia,p3971-0080+p3834-0008 nvidia,p3834-0008 nvidia,tegra264", "jetson-thor"),
        ("nvidia,p2972-0000 nvidia,tegra194", "jetson-agx-xavier"),
        ("nvidia,galen nvidia,jetson-xavier nvidia,p2822-0000+p2888-0001 nvidia,tegra194", "jetson-agx-xavier"),
        ("raspberrypi,5-model-b brcm,bcm2712", None),
    ],
)
def test_boards_are_recognised_by_their_device_tree(strings: str, name: str | None) -> None:
    """As /proc/device-tree/compatible has it on real ones (NVIDIA forums, kernel sources)."""
    found = {each.name for each in BOARDS.values() if each.jetson and set(strings.split()) & set(each.jetson.compatible)}
    assert found == ({name} if name else set())


@pytest.mark.parametrize("profile", BOARDS.values(), ids=lambda profile: profile.name)
def test_rates_are_dense_and_agree_with_each_other(profile: Profile) -> None:
    assert profile.jetson is not None
    first = profile.jetson.modes[0].rates
    assert first is not None
    for mode in profile.jetson.modes:
        assert mode.source
        if mode.rates is None:
            continue
        assert mode.rates.int8_tops is not None
        # Tensor cores do twice as many products of bytes as of halves; the figures are rounded up to one decimal.
        assert mode.rates.int8_tops / mode.rates.fp16_tflops == pytest.approx(2, rel=0.03)
        for peak in ("int8_tops", "fp16_tflops", "fp32_tflops", "bandwidth_gbs"):
            assert getattr(mode.rates, peak) <= getattr(first, peak)


@pytest.mark.parametrize("profile", BOARDS.values(), ids=lambda profile: profile.name)
def test_versions_are_ones_that_rules_look_at(profile: Profile) -> None:
    assert profile.jetson is not None
    for version in profile.jetson.tensorrt_versions:
        assert oldest_known() <= parse_version(version) < newest_known()


@pytest.mark.parametrize("profile", BOARDS.values(), ids=lambda profile: profile.name)
def test_precisions_are_what_the_lowering_offers(profile: Profile) -> None:
    assert profile.runtimes == ("tensorrt",)
    assert set(profile.precisions) <= set(TensorRt.precisions)


ROBOT = 'extends = "jetson-orin-nx"\nname = "courier-v3"\ntitle = "Courier robot"\nmemory_gib = 8\n'


def test_a_robots_own_board(tmp_path: Path) -> None:
    path = tmp_path / "robot.toml"
    path.write_text(ROBOT + '[jetson]\ncompatible = ["acme,courier"]\n')
    robot, base = resolve(str(path), HERE), BOARDS["jetson-orin-nx"]
    assert robot.jetson is not None
    assert base.jetson is not None
    assert robot.jetson.compatible == ("acme,courier",)
    assert robot.jetson.modes == base.jetson.modes
    assert robot.precisions == base.precisions


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ROBOT + "[jetson]\ncompatible = []\n", "compatible"),
        (ROBOT + "[jetson]\ntensorrt = { min = '8.6', below = '10.3' }\n", "leaves out 10.3"),
        (ROBOT + "[jetson]\nmodes = []\n", "modes"),
        (ROBOT + "[[jetson.modes]]\nname = 'SLOW'\nid = 9\nsource = 'me'\n", "must have rates"),
        (ROBOT + "[jetson]\nwheels = 4\n", "wheels"),
        (ROBOT + "[jetson]\ncompute_capability = '87'\n", "compute_capability"),
        (ROBOT + "isa = ['asimd']\n", "isa: profiles of the family 'jetson' have no such key"),
        (ROBOT + "rank = 3\n", "rank: profiles of the family 'jetson' have no such key"),
        (ROBOT + "family = 'cpu'\n", "jetson: profiles of the family 'cpu' have no such key"),
        (ROBOT + "family = 'toaster'\n", "no family of targets named 'toaster'"),
        ("extends = 'cpu-arm64'\nname = 'x'\nfamily = 'jetson'\n", "jetson: profiles of the family 'jetson' must have it"),
        ("extends = 'cpu-arm64'\nname = 'x'\nisa = []\n", "must name the flags"),
    ],
)
def test_a_file_that_is_not_a_board_s_profile_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "robot.toml").write_text(text)
    with pytest.raises(TargetError) as caught:
        resolve(str(tmp_path / "robot.toml"), HERE)
    assert words in str(caught.value)
