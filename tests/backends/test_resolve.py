from __future__ import annotations

from pathlib import Path

import pytest

from edgec.backends.profiles import list_profiles, missing, resolve
from edgec.errors import TargetError
from edgec.onboard.cpuinfo import from_proc
from edgec.records.report import Host

TEXTS = Path(__file__).parent.parent / "latency" / "cpuinfo"


def host(architecture: str, *isa: str) -> Host:
    return Host(
        cpu="a CPU",
        architecture=architecture,
        isa=isa,
        physical_cores=4,
        logical_cores=4,
        usable_cores=4,
        memory_bytes=8_000_000_000,
        os="Linux",
        python="3.11",
    )


HERE = host("x86_64", "avx2", "fma")

ROBOT = """
extends = "cpu-x86-64-avx512-bf16"
name = "courier-v2"
title = "Courier robot"
memory_gib = 4
cores = 2

[precisions]
bf16 = []
int8 = ["onnxruntime"]

[[promises]]
text = "It delivers."
source = "Its makers."
"""


@pytest.mark.parametrize(
    ("file", "architecture", "name"),
    [
        ("kaby-lake", "x86_64", "cpu-x86-64-avx2"),
        ("zen4-virtual-machine", "x86_64", "cpu-x86-64-avx512-bf16"),
        ("raspberry-pi-4", "aarch64", "cpu-arm64"),
        ("raspberry-pi-5", "aarch64", "cpu-arm64-dotprod"),
        ("neoverse-v1", "aarch64", "cpu-arm64-i8mm"),
    ],
)
def test_cpu_is_the_hosts_own_best(file: str, architecture: str, name: str) -> None:
    cpu = from_proc((TEXTS / f"{file}.txt").read_text())
    assert resolve("cpu", host(architecture, *cpu.isa)).name == name


def test_the_wider_of_two_dot_products() -> None:
    zen5 = ("sse4_2", "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni")
    assert resolve("cpu", host("x86_64", *zen5)).name == "cpu-x86-64-avx512-vnni"
    assert resolve("cpu", host("x86_64", "sse4_2", "avx2", "fma", "avx_vnni")).name == "cpu-x86-64-avx-vnni"


@pytest.mark.parametrize(("architecture", "isa"), [("x86_64", ()), ("riscv64", ()), ("aarch64", ("avx2",))])
def test_a_host_that_no_profile_suits(architecture: str, isa: tuple[str, ...]) -> None:
    with pytest.raises(TargetError) as caught:
        resolve("cpu", host(architecture, *isa))
    assert architecture in str(caught.value)
    assert "cpu-x86-64-avx2 needs" in str(caught.value)


@pytest.mark.parametrize("name", [profile.name for profile in list_profiles()])
def test_every_name_resolves_on_any_host(name: str) -> None:
    assert resolve(name, HERE).name == name


@pytest.mark.parametrize(
    ("name", "near"),
    [("cpu-arm64-dotprd", "cpu-arm64-dotprod"), ("raspberry", "cpu-raspberry-pi-5"), ("avx2", "cpu-x86-64-avx2")],
)
def test_an_unknown_name_is_answered_with_similar_names(name: str, near: str) -> None:
    with pytest.raises(TargetError) as caught:
        resolve(name, HERE)
    first, second = caught.value.evidence
    assert near in first
    assert all(profile.name in second for profile in list_profiles())


def test_what_a_host_lacks() -> None:
    profile = resolve("cpu-x86-64-avx512-vnni", HERE)
    assert missing(profile, HERE) == ("avx512f", "avx512bw", "avx512_vnni")
    assert missing(profile, host("x86_64", *profile.isa, "amx_tile")) == ()
    assert missing(profile, host("aarch64", "asimd")) == ("x86_64", *profile.isa)


def test_a_robots_own_profile(tmp_path: Path) -> None:
    path = tmp_path / "robot.toml"
    path.write_text(ROBOT)
    robot, base = resolve(str(path), HERE), resolve("cpu-x86-64-avx512-bf16", HERE)
    assert (robot.name, robot.title, robot.memory_gib, robot.cores) == ("courier-v2", "Courier robot", 4, 2)
    assert robot.isa == base.isa
    assert robot.rank is None
    assert robot.precisions == {"fp32": ("openvino", "onnxruntime"), "int8": ("onnxruntime",)}
    assert robot.candidates == (("openvino", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "int8"))
    assert robot.runtimes == ("openvino", "onnxruntime")
    assert robot.sources == (*base.sources, "Its makers.")


def test_a_profile_may_extend_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "base.toml").write_text(ROBOT)
    (tmp_path / "one.toml").write_text('extends = "fleet/base.toml"\nname = "one"\n[int8]\nactivations = "s8"\n')
    one = resolve(str(tmp_path / "one.toml"), HERE)
    assert (one.name, one.title) == ("one", "Courier robot")
    assert one.int8 is not None
    assert (one.int8.activations, one.int8.dot_product) == ("s8", True)


def test_a_profile_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\nfamily = "cpu"\ntitle = "Own"\narchitecture = "aarch64"\nisa = ["asimd"]\n[precisions]\nfp32 = ["mine"]\n'
    )
    assert resolve(str(path), HERE).candidates == (("mine", "fp32"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "is not TOML"),
        ("", "architecture"),
        (ROBOT.replace("cores", "coers"), "coers"),
        (ROBOT.replace("courier-v2", "../courier"), "name"),
        (ROBOT.replace("cores = 2", 'isa = ["avx512vnni"]'), "'avx512vnni' is none of the x86_64 flags"),
        (ROBOT.replace("cores = 2", 'architecture = "aarch64"'), "none of the aarch64 flags"),
        (ROBOT.replace("cores = 2", 'architecture = "riscv64"'), "architecture"),
        (ROBOT.replace("cores = 2", "cores = 0"), "cores"),
        (ROBOT.replace("bf16 = []", "fp7 = []"), "fp7"),
        (ROBOT.replace("bf16 = []", "bf16 = []\nfp32 = []").replace('["onnxruntime"]', "[]"), "none has a runtime"),
        (ROBOT.replace("cpu-x86-64-avx512-bf16", "cpu-x86"), "no target named 'cpu-x86'"),
        (ROBOT.replace('"cpu-x86-64-avx512-bf16"', "7"), "extends must be the name"),
        ('extends = "robot.toml"\n', "extends itself"),
        ('extends = "missing.toml"\n', "cannot be read"),
        (
            'name = "x"\nfamily = "cpu"\ntitle = "X"\narchitecture = "x86_64"\nisa = ["avx2"]\nprecisions = {int8 = ["a"]}\n',
            "[int8]",
        ),
    ],
)
def test_a_file_that_is_not_a_profile_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "robot.toml").write_text(text)
    with pytest.raises(TargetError) as caught:
        resolve(str(tmp_path / "robot.toml"), HERE)
    assert words in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\x00" * 10])
def test_a_profile_that_is_not_utf_8(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "robot.toml").write_bytes(data)
    with pytest.raises(TargetError, match="is not TOML"):
        resolve(str(tmp_path / "robot.toml"), HERE)


def test_a_directory_or_nothing_at_the_path(tmp_path: Path) -> None:
    for path in (f"{tmp_path}/", str(tmp_path / "absent.toml")):
        with pytest.raises(TargetError, match="cannot be read"):
            resolve(path, HERE)
