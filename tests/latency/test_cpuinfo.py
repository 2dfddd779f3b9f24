"""/proc/cpuinfo as these machines give it: two Raspberry Pis (hrw/arm-socs-table issue 96, nicolargo/glances issue 2616), an
AVX-512 virtual machine, and a laptop and an arm64 server put together from their published flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.onboard.cpuinfo import architecture, from_proc, from_sysctl

TEXTS = Path(__file__).parent / "cpuinfo"

AVX512 = ("sse4_2", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16")


@pytest.mark.parametrize(
    ("file", "name", "isa", "virtual"),
    [
        ("zen4-virtual-machine", "AMD EPYC", AVX512, True),
        ("kaby-lake", "Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", ("sse4_2", "avx2", "fma", "f16c"), False),
        ("raspberry-pi-5", "Raspberry Pi 5 Model B Rev 1.0 (Cortex-A76)", ("asimd", "asimddp", "fphp"), None),
        ("raspberry-pi-4", "Raspberry Pi 4 Model B Rev 1.5 (Cortex-A72)", ("asimd",), None),
        ("neoverse-v1", "Neoverse-V1", ("asimd", "asimddp", "fphp", "i8mm", "bf16", "sve"), None),
    ],
)
def test_real_machines(file: str, name: str, isa: tuple[str, ...], virtual: bool | None) -> None:
    cpu = from_proc((TEXTS / f"{file}.txt").read_text())
    assert (cpu.name, cpu.isa, cpu.virtual) == (name, isa, virtual)


def test_the_device_tree_names_the_board() -> None:
    cpu = from_proc((TEXTS / "neoverse-v1.txt").read_text(), "NVIDIA Jetson")
    assert cpu.name == "NVIDIA Jetson (Neoverse-V1)"


def test_only_what_every_core_has_counts() -> None:
    little, big = (TEXTS / "raspberry-pi-4.txt").read_text(), (TEXTS / "raspberry-pi-5.txt").read_text()
    cpu = from_proc(f"{little}\n{big}", "a board")
    assert cpu.isa == ("asimd",)
    assert cpu.name == "a board (Cortex-A72 + Cortex-A76)"


def test_an_unknown_arm_core_is_named_by_its_numbers() -> None:
    text = (TEXTS / "raspberry-pi-5.txt").read_text().replace("0xd0b", "0xfff").replace("Model", "Other")
    assert from_proc(text).name == "Arm core 0x41/0xfff"


@pytest.mark.parametrize("text", ["", "processor\t: 0\n", "\0\0nonsense"])
def test_text_without_flags_has_none(text: str) -> None:
    assert from_proc(text).isa == ()


def test_apple_silicon() -> None:
    text = """machdep.cpu.brand_string: Apple M2
hw.optional.AdvSIMD: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_FP16: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_BF16: 0
kern.hv_vmm_present: 0
"""
    cpu = from_sysctl(text)
    assert (cpu.name, cpu.isa, cpu.virtual) == ("Apple M2", ("asimd", "asimddp", "fphp", "i8mm"), False)


def test_intel_mac() -> None:
    text = """machdep.cpu.brand_string: Intel(R) Core(TM) i7-8569U CPU @ 2.80GHz
machdep.cpu.features: FPU SSE4.1 SSE4.2 FMA F16C
machdep.cpu.leaf7_features: SMEP BMI1 AVX2
"""
    cpu = from_sysctl(text)
    assert (cpu.isa, cpu.virtual) == (("sse4_2", "avx2", "fma", "f16c"), None)


def test_one_name_for_an_architecture() -> None:
    assert [architecture(name) for name in ("x86_64", "AMD64", "arm64", "aarch64", "armv7l")] == [
        "x86_64",
        "x86_64",
        "aarch64",
        "aarch64",
        "armv7l",
    ]
