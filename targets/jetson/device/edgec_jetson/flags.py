"""trtexec's flags, version by version.

From NVIDIA/TensorRT, samples/common/sampleOptions.cpp at the tags 8.5.2, v8.6.1, v10.3.0, v10.13.3, v10.16, v11.0 and v11.1:

- 8.5 has --buildOnly and --streams, which later ones call --skipInference and --infStreams, and has no optimisation levels.
- Before 9 a network cannot be strongly typed. --fp16 and --int8 allow types, and the types of the graph's Casts and Q/DQ must be
  allowed; --precisionConstraints with --layerPrecisions then keeps in float32 what the graph keeps there.
- From 11.0 every network is strongly typed, --fp16 and --int8 are unknown, and CUDA graphs, spin-wait and *no data transfers* are
  the default: without --includeDataTransfers its latencies are not comparable with those of older versions.

What trtexec prints is checked (`UNDERSTOOD`), in case a default changes again.
"""

from __future__ import annotations

from typing import Sequence

from edgec_device.versions import Version

UNDERSTOOD = {
    "ExposeDMA": "Enabled",
    "Data transfers": "Enabled",
    "Spin-wait": "Enabled",
    "CUDA Graph": "Enabled",
    "Multithreading": "Disabled",
}
"""Lines of trtexec's inference options that every measurement must show."""

BENCH_WARM_UP_MS = 500


def strongly_typed(version: Version) -> bool:
    """Whether this TensorRT computes in exactly the graph's types."""
    return version >= (9,)


def build_flags(version: Version, precision: str, float32_layers: Sequence[str]) -> list[str]:
    """Flags that decide what the engine computes, without paths. `float32_layers` are used only if networks are weakly typed.

    TF32 rounds the products of float32 to ten bits. It is allowed except for fp32 engines, the last resort.
    """
    flags = ["--device=0"]
    if version < (8, 6):
        flags.append("--buildOnly")
    else:
        flags += ["--skipInference", "--builderOptimizationLevel=3"]
    if precision == "fp32":
        flags.append("--noTF32")
    if strongly_typed(version):
        return flags + (["--stronglyTyped"] if version < (11,) else [])
    if precision in ("fp16", "int8"):
        flags.append("--fp16")
        if precision == "int8":
            flags.append("--int8")
        if float32_layers:
            flags += ["--precisionConstraints=prefer", "--layerPrecisions=" + ",".join(name + ":fp32" for name in float32_layers)]
    return flags


def run_flags(version: Version) -> list[str]:
    """How an engine is run, both to verify and to measure it: one frame after the other, copied in, computed, copied out.

    --exposeDMA: without it, one frame is copied while another is computed, which does not happen on a robot.
    """
    streams = "--streams=1" if version < (8, 6) else "--infStreams=1"
    flags = ["--device=0", streams, "--exposeDMA", "--useSpinWait", "--useCudaGraph", "--sleepTime=0", "--idleTime=0"]
    return [*flags, "--includeDataTransfers"] if version >= (11,) else flags


def verify_flags(version: Version) -> list[str]:
    """One run without warming up."""
    return [*run_flags(version), "--warmUp=0", "--duration=0", "--iterations=1", "--avgRuns=1"]


def bench_flags(version: Version, seconds: float, iterations: int) -> list[str]:
    """At least `seconds` and at least `iterations` runs, after warming up."""
    timing = [f"--warmUp={BENCH_WARM_UP_MS}", f"--duration={seconds:g}", f"--iterations={iterations}"]
    return run_flags(version) + timing + ["--avgRuns=100", "--percentile=50,90,99"]
