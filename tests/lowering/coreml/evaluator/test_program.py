"""The program as a whole: its input, its types, its functions, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.errors import RuntimeFailure
from edgec.lowering.coreml.evaluator import load
from edgec.lowering.coreml.package import MODEL, WEIGHTS

from .programs import Array, ct, mb, run, save, working
from .tampering import edited

RANDOM = np.random.default_rng(0)
FRAMES = RANDOM.integers(0, 256, (3, 6, 4, 3), dtype=np.uint8)
PLANES = {"frames": np.zeros((1, 3, 6, 4), np.float32)}
LINEAR = RANDOM.normal(0, 1, (16, 24)).astype(np.float32)


def doubled(variables: dict[str, Any]) -> dict[str, Any]:
    return {"cls": mb.mul(x=variables["frames"], y=np.float32(2))}


def product(variables: dict[str, Any]) -> dict[str, Any]:
    flat = mb.reshape(x=variables["frames"], shape=[3, 24])
    return {"cls": mb.linear(x=flat, weight=LINEAR, bias=np.zeros(16, np.float32), name="fc1")}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`product`, not to be written to."""
    return save(tmp_path_factory.mktemp("saved") / "small.mlpackage", PLANES, product, image="RGB")


@pytest.fixture
def package(saved: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    return Path(shutil.copytree(saved, tmp_path / "small.mlpackage"))


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_frames_become_planes_in_the_packages_order(colour: str, tmp_path: Path) -> None:
    program = load(save(tmp_path / "image.mlpackage", PLANES, doubled, image=colour))
    planes = FRAMES.transpose(0, 3, 1, 2)[:, :: 1 if colour == "RGB" else -1]
    np.testing.assert_array_equal(program.run(FRAMES)["cls"], 2.0 * planes)
    with pytest.raises(RuntimeFailure, match="images of 6x4, not 4x6"):
        program.run(np.ascontiguousarray(FRAMES.transpose(0, 2, 1, 3)))
    with pytest.raises(RuntimeFailure, match="frames of another type or shape"):
        program.run(FRAMES.astype(np.float32))


def test_scale_and_bias_of_an_image_are_honoured(tmp_path: Path) -> None:
    def whole(frames: Any) -> Any:
        return mb.identity(x=frames, name="cls")

    program = mb.program(input_specs=[mb.TensorSpec((1, 3, 6, 4))], opset_version=ct.target.iOS18)(whole)
    image = ct.ImageType("frames", shape=(1, 3, 6, 4), scale=0.5, bias=[1.0, 2.0, 3.0])
    with working():
        model = ct.convert(program, inputs=[image], minimum_deployment_target=ct.target.iOS18, skip_model_load=True)
        model.save(str(tmp_path / "scaled.mlpackage"))
    expected = FRAMES.transpose(0, 3, 1, 2) * 0.5 + np.array([1, 2, 3]).reshape(3, 1, 1)
    np.testing.assert_array_equal(load(tmp_path / "scaled.mlpackage").run(FRAMES)["cls"], expected)


def test_fp16_is_rounded_after_every_operation(tmp_path: Path) -> None:
    x: Array = RANDOM.normal(0, 1, (3, 24)).astype(np.float32) * 100

    def build(variables: dict[str, Any]) -> dict[str, Any]:
        made = mb.linear(x=variables["x"], weight=LINEAR, bias=np.zeros(16, np.float32))
        return {"y": mb.mul(x=made, y=mb.mul(x=made, y=np.float32(3)))}

    actual = run(save(tmp_path / "half.mlpackage", {"x": x}, build, half=True), {"x": x})["y"]
    half = np.float16
    product = (x.astype(half).astype(np.float32) @ LINEAR.astype(half).astype(np.float32).T).astype(half)
    with np.errstate(over="ignore"):
        expected = product * (product * half(3))
    assert np.isinf(expected).any()  # beyond fp16's end, as it would be there
    np.testing.assert_array_equal(actual, expected.astype(np.float32))


def test_tensors_can_be_watched(saved: Path) -> None:
    program = load(saved)
    actual = program.run(FRAMES, watch=["fc1"])
    assert set(actual) == {"cls", "fc1"}
    assert actual["fc1"].shape == (9, 16)
    with pytest.raises(RuntimeFailure, match="no tensor fc2"):
        program.run(FRAMES, watch=["fc2"])


def test_functions_of_one_package(saved: Path, tmp_path: Path) -> None:
    described = ct.utils.MultiFunctionDescriptor()
    described.add_function(str(save(tmp_path / "one.mlpackage", PLANES, doubled, image="RGB")), "main", "one")
    described.add_function(str(saved), "main", "two")
    described.default_function_name = "two"
    with working():
        ct.utils.save_multifunction(described, str(tmp_path / "both.mlpackage"))
    package = tmp_path / "both.mlpackage"
    np.testing.assert_array_equal(load(package, "one").run(FRAMES)["cls"], 2.0 * FRAMES.transpose(0, 3, 1, 2))
    assert load(package).run(FRAMES)["cls"].shape == (9, 16)
    assert load(package).functions == ("one", "two")
    with pytest.raises(RuntimeFailure, match="no function three") as caught:
        load(package, "three")
    assert "one, two" in str(caught.value)


def test_unknown_operations_and_attributes_are_refused_by_name(package: Path, tmp_path: Path) -> None:
    unknown = save(tmp_path / "other.mlpackage", PLANES, lambda v: {"cls": mb.sinh(x=v["frames"], name="running")})
    with pytest.raises(RuntimeFailure, match=r"running \(sinh\) is not known"):
        load(unknown)
    with edited(package) as operations:
        operations["fc1"].inputs["sparsity"].arguments.add().name = "frames"
    with pytest.raises(RuntimeFailure, match=r"fc1 \(linear\) has an attribute .* sparsity"):
        load(package)


def test_another_shape_than_declared_is_refused(package: Path) -> None:
    with edited(package) as operations:
        operations["fc1"].outputs[0].type.tensorType.dimensions[0].constant.size = 5
    with pytest.raises(RuntimeFailure, match=r"fc1 \(linear\)") as caught:
        load(package).run(FRAMES)
    assert caught.value.evidence == ("gives shape [3, 16], the program says fp32 [5, 16]",)


def test_damaged_packages_are_refused(package: Path) -> None:
    weights, model = (package / WEIGHTS).read_bytes(), (package / MODEL).read_bytes()
    for damaged, problem in ((weights[:-64], "bits|holds"), (weights[:32], "header"), (b"\0" * len(weights), "version")):
        (package / WEIGHTS).write_bytes(damaged)
        with pytest.raises(RuntimeFailure, match="weights are damaged") as caught:
            load(package)
        assert any(word in caught.value.evidence[1] for word in problem.split("|"))
    (package / WEIGHTS).write_bytes(weights)
    for count in (10, len(model) // 2, len(model) - 3):
        (package / MODEL).write_bytes(model[:count])
        with pytest.raises(RuntimeFailure):
            load(package)
    (package / MODEL).write_bytes(model)
    manifest = json.loads((package / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = "../../elsewhere"
    (package / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RuntimeFailure, match="outside itself"):
        load(package)
    (package / "Manifest.json").write_text("{}")
    with pytest.raises(RuntimeFailure, match="names no model"):
        load(package)


def test_a_program_runs_in_one_thread_where_that_can_be_told(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = pytest.importorskip("threadpoolctl")
    program, threads = load(saved), set()

    def count(*_: object) -> None:
        threads.update(each["num_threads"] for each in control.threadpool_info() if each["user_api"] == "blas")

    with control.threadpool_limits(2, user_api="blas"):
        program.walk(next(program.batches(FRAMES[:1])), count)
    assert threads == {1}
    actual = program.run(FRAMES)["cls"]
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    np.testing.assert_allclose(program.run(FRAMES)["cls"], actual, rtol=1e-5)
