"""Our artefacts in Arm's own machine code: emulated on host."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.arm64.machine import A76, I8MM, run_emulated
from edgec.fidelity.metrics import compare
from edgec.records.evidence import Evidence
from tests.arm64.conftest import Emulated, Features

CPUS = (A76, I8MM)
EXACT, INT8 = ("onnxruntime-fp32", "openvino-fp32"), ("onnxruntime-s8s8", "onnxruntime-u8s8", "onnxruntime-tokens")


@pytest.mark.parametrize("cpu", CPUS)
def test_emulation_is_recognised_and_is_no_target(emulated: Callable[[str], Emulated], cpu: str) -> None:
    answer = emulated(cpu).answer
    host = answer["host"]
    assert (host["architecture"], host["emulated_on"]) == ("aarch64", platform.machine())
    assert {"asimd", "asimddp"} <= set(host["isa"])
    assert ("i8mm" in host["isa"]) == (cpu == I8MM)
    assert ("Cortex-A76" in host["cpu"]) == (cpu == A76)
    assert answer["evidence"] == Evidence.EMULATED.value
    assert answer["lacks"] == [f"a real CPU: this one is emulated on {platform.machine()}"]
    assert any("emulated" in caveat for caveat in answer["caveats"])


def test_its_children_are_emulated_too(emulated: Callable[[str], Emulated]) -> None:
    assert emulated(A76).answer["child"] == "aarch64"


@pytest.mark.parametrize("cpu", CPUS)
def test_artefacts_reproduce_their_golden_features(emulated: Callable[[str], Emulated], cpu: str) -> None:
    verified = emulated(cpu).answer["verified"]
    assert len(verified) == 2
    for path, result in verified.items():
        assert result["passed"], (path, result)
        assert not result["same_machine"]


def test_the_command_itself(artefacts: dict[str, Path]) -> None:
    done = run_emulated(["-m", "edgec", "verify", artefacts["onnxruntime"], "--threads", "1"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", INT8)
def test_int8_is_the_same_bits_with_and_without_matrix_products(emulated: Callable[[str], Emulated], model: str) -> None:
    """Sums of bytes are exact in 32 bits, whichever instruction sums them."""
    first, second = (emulated(cpu).features for cpu in CPUS)
    for output in ("cls", "patches"):
        assert np.array_equal(first[f"{model}/{output}"], second[f"{model}/{output}"]), output


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("model", [*EXACT, *INT8])
def test_arm_computes_what_x86_computes(emulated: Callable[[str], Emulated], here: Features, model: str, cpu: str) -> None:
    expected, actual = (
        {output: features[f"{model}/{output}"] for output in ("cls", "patches")} for features in (here, emulated(cpu).features)
    )
    fidelity = compare(expected, actual, cpu, Evidence.EMULATED)
    assert fidelity.cls_cosine_mean >= 0.9999
    assert fidelity.patch_cosine_mean >= 0.9999
    if model in EXACT:
        assert fidelity.patch_cosine_p01 >= 0.999999
