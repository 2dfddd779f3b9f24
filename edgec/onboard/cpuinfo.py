"""From what an operating system says of its CPU to the flags that matter to inference. Pure functions of text.

Flags are spelled as Linux spells them in /proc/cpuinfo, on every system, because profiles in `targets/` name them so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

X86_FLAGS = (
    "sse4_2",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)
ARM_FLAGS = ("asimd", "asimddp", "fphp", "i8mm", "bf16", "sve")
FLAGS = {"x86_64": X86_FLAGS, "aarch64": ARM_FLAGS}
"""By architecture, as `architecture()` names it."""

# Main ID Register parts: Arm's and NVIDIA's cores that Linux robots and servers have. Source: Arm's technical reference manuals,
# as collected by util-linux (sys-utils/lscpu-arm.c).
_ARM_CORES = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4B): "Cortex-A78C",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD83): "Neoverse-V3AE",
    (0x4E, 0x004): "Carmel",
}

# Apple's and Intel's spellings in sysctl, in ours.
_SYSCTL_SWITCHES = {
    "hw.optional.neon": "asimd",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_FP16": "fphp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
}
_SYSCTL_WORDS = {
    "SSE4.2": "sse4_2",
    "AVX2": "avx2",
    "FMA": "fma",
    "F16C": "f16c",
    "AVX512F": "avx512f",
    "AVX512BW": "avx512bw",
    "AVX512VNNI": "avx512_vnni",
}


@dataclass(frozen=True)
class Cpu:
    """`isa` holds those of `FLAGS` that every core has, in that order. `virtual` is None if the text does not say."""

    name: str
    isa: tuple[str, ...]
    virtual: bool | None = None


def architecture(machine: str) -> str:
    """`platform.machine()` under one name for each architecture: AMD64 is x86_64, arm64 is aarch64."""
    return {"amd64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine.lower())


def _ordered(flags: set[str]) -> tuple[str, ...]:
    return tuple(flag for known in FLAGS.values() for flag in known if flag in flags)


def from_proc(text: str, board: str = "") -> Cpu:
    """Reads /proc/cpuinfo of an x86-64 or arm64 Linux. `board` is the device tree's model, if there is one.

    Where cores differ, only what all of them have counts: the scheduler moves threads between them.
    """
    cores: list[dict[str, str]] = []
    for block in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([^:\n]+?)\s*:[ \t]*(.*)$", block, re.MULTILINE))
        if "flags" in fields or "Features" in fields:
            cores.append(fields)
        board = board or fields.get("Model", "")
    if not cores:
        return Cpu(board or "unknown", ())
    per_core = [set((core.get("flags") or core.get("Features") or "").split()) for core in cores]
    common = set.intersection(*per_core)
    if "flags" in cores[0]:
        return Cpu(" ".join(cores[0].get("model name", "unknown").split()), _ordered(common), "hypervisor" in common)
    names = " + ".join(dict.fromkeys(_arm_name(core) for core in cores))
    return Cpu(f"{board} ({names})" if board else names, _ordered(common))


def _arm_name(core: dict[str, str]) -> str:
    implementer, part = core.get("CPU implementer", "0x0"), core.get("CPU part", "0x0")
    try:
        return _ARM_CORES.get((int(implementer, 16), int(part, 16)), f"Arm core {implementer}/{part}")
    except ValueError:
        return core.get("model name", "unknown")


def from_sysctl(text: str) -> Cpu:
    """Reads the `name: value` lines of macOS' `sysctl machdep.cpu hw.optional kern.hv_vmm_present`."""
    values = dict(re.findall(r"^([\w.]+):[ \t]*(.*)$", text, re.MULTILINE))
    flags = {ours for theirs, ours in _SYSCTL_SWITCHES.items() if values.get(theirs) == "1"}
    words = f"{values.get('machdep.cpu.features', '')} {values.get('machdep.cpu.leaf7_features', '')}".split()
    flags |= {_SYSCTL_WORDS[word] for word in words if word in _SYSCTL_WORDS}
    virtual = values.get("kern.hv_vmm_present")
    return Cpu(values.get("machdep.cpu.brand_string", "unknown"), _ordered(flags), None if virtual is None else virtual == "1")
