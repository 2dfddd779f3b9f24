"""The profiles that edgec ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.backends.cpu.profile import Counts, CpuProfile
from edgec.backends.profile import Profile
from edgec.backends.profiles import list_profiles
from edgec.lowering.registry import all_lowerings
from edgec.onboard.cpuinfo import FLAGS
from edgec.records.evidence import Evidence
from edgec.resources import room

PROFILES = {profile.name: profile for profile in list_profiles()}
CPUS = {name: profile for name, profile in PROFILES.items() if profile.family == "cpu"}
FILES = sorted(room("targets").glob("*/*.toml"))


def test_the_documented_profiles_exist() -> None:
    assert {
        "cpu-x86-64-avx2",
        "cpu-x86-64-avx512-vnni",
        "cpu-x86-64-avx-vnni",
        "cpu-x86-64-amx",
        "cpu-arm64-dotprod",
        "cpu-arm64-i8mm",
        "cpu-raspberry-pi-5",
    } <= set(PROFILES)


def test_files_are_named_as_their_profiles() -> None:
    assert sorted(PROFILES) == sorted(path.stem for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_profiles_are_in_their_family_s_folder(path: Path) -> None:
    assert PROFILES[path.stem].family == path.parent.name


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_each_profile_is_complete(profile: Profile) -> None:
    assert profile.title
    assert profile.examples
    assert profile.promises
    assert "fp32" in profile.precisions or profile.family == "apple"  # the Neural Engine has none
    assert set(profile.runtimes) <= set(all_lowerings())


@pytest.mark.parametrize("profile", CPUS.values(), ids=lambda profile: profile.name)
def test_16_bit_floats_and_whole_weights_only_where_the_cpu_has_the_instructions(profile: Profile) -> None:
    assert ("bf16" in profile.precisions) == ("avx512_bf16" in profile.isa)
    assert ("fp16" in profile.precisions) == ("fphp" in profile.isa)
    dot_products = bool({"avx512_vnni", "avx_vnni", "asimddp"} & set(profile.isa))
    assert profile.int8 is not None
    assert profile.int8.dot_product == dot_products
    assert profile.int8.pairs_saturate == (profile.architecture == "x86_64" and not dot_products)


def test_no_two_classes_of_an_architecture_have_one_rank() -> None:
    ranked = [(profile.architecture, profile.standing) for profile in PROFILES.values() if profile.standing is not None]
    assert len(set(ranked)) == len(ranked)
    assert {architecture for architecture, _ in ranked} == set(FLAGS)


def test_a_class_that_requires_more_ranks_higher() -> None:
    ranked = [profile for profile in PROFILES.values() if profile.standing is not None]
    for one in ranked:
        for other in ranked:
            if one.architecture == other.architecture and set(one.isa) < set(other.isa):
                assert (one.standing or 0) < (other.standing or 0), f"{one.name} and {other.name}"


def test_a_board_is_what_it_extends_and_more() -> None:
    board, base = PROFILES["cpu-raspberry-pi-5"], PROFILES["cpu-arm64-dotprod"]
    assert board.precisions == {**base.precisions, "fp16": ("openvino",)}
    assert board.int8 == base.int8
    assert board.cores == 4
    assert board.standing is None
    assert board.promises[: len(base.promises)] == base.promises
    assert len(board.promises) > len(base.promises)


def test_what_was_counted_is_an_order_for_that_model_alone() -> None:
    profile = CPUS["cpu-raspberry-pi-5"]
    assert isinstance(profile, CpuProfile)
    counts = Counts(
        model="vitt16", size="224x224", cpu="cortex-a76", evidence=Evidence.EMULATED, source="a test",
        million_instructions={"onnxruntime-fp32": 501, "onnxruntime-int8-static": 290},
    )  # fmt: skip
    counted = profile.model_copy(update={"counts": (counts,)})
    assert counted.counted("vitt16", "224x224") == counts
    assert counted.counted("vits16", "224x224") is None
    larger = counts.model_copy(update={"size": "480x640"})
    both = counted.model_copy(update={"counts": (counts, larger)})
    assert both.counted("vitt16", "512x512") == larger, "the nearest"
    assert both.counted("vitt16", "256x320") == counts
    assert any("onnxruntime-int8-static 290, onnxruntime-fp32 501" in text for _, text in counted.details)
    assert any("emulated on host" in text for _, text in counted.details)


@pytest.mark.parametrize("profile", CPUS.values(), ids=lambda profile: profile.name)
def test_counts_say_where_they_come_from(profile: CpuProfile) -> None:
    for each in profile.counts:
        assert each.evidence is Evidence.EMULATED
        assert "benchmarks counts" in each.source
        assert profile.architecture == "aarch64"
