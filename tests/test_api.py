"""`import edgec`: what it gives, and that it does what the command line does."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

import edgec
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures

NAMES = [
    *("ArtefactError", "BuildRequest", "EdgecError", "FidelityError", "FrameFeatures", "RequestError", "Size"),
    *("TargetError", "VerificationError"),
    *("__version__", "bench", "build", "compare", "features", "open_artefact", "verify"),
]


def test_the_exported_names() -> None:
    assert sorted(edgec.__all__) == sorted(NAMES)
    assert dir(edgec) == sorted(NAMES)
    for name in NAMES:
        assert getattr(edgec, name) is not None
    assert (Path(edgec.__file__).parent / "py.typed").is_file()


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compile'"):
        _ = edgec.compile


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("build", ["checkpoint", "progress", "options"]),
        (
            "features",
            ["model", "frames", "size", "crop", "registers", "layers", "heads", "weights", "config", "threads"],
        ),
        ("open_artefact", ["path", "check_hashes"]),
        ("verify", ["path", "threads", "min_fidelity"]),
        ("bench", ["path", "threads", "iterations"]),
        ("compare", ["first", "others", "anyway"]),
    ],
)
def test_the_functions_parameters(name: str, parameters: list[str]) -> None:
    function = getattr(edgec, name)
    assert list(inspect.signature(function).parameters) == parameters
    assert function.__doc__


def test_options_are_the_requests_fields() -> None:
    """Type checkers know them by `BuildOptions`."""
    from edgec.request import BuildOptions

    fields = {field.name: field.type for field in dataclasses.fields(edgec.BuildRequest) if field.name != "checkpoint"}
    assert {name: hint.__forward_arg__ for name, hint in BuildOptions.__annotations__.items()} == fields


def test_from_a_checkpoint_to_a_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "cache"))
    save_checkpoint(tmp_path / "checkpoint")
    draw_pictures(tmp_path / "frames")
    profile = save_profile(tmp_path / "fp32.toml", {"fp32": ["openvino"]})
    options = {"target": str(profile), "calibration": str(tmp_path / "frames"), "size": edgec.Size(32, 48), "iterations": 5}
    built = edgec.build(tmp_path / "checkpoint", output=tmp_path / "a.edgec", **options)
    assert edgec.open_artefact(built.directory).manifest.build_key == built.manifest.build_key
    assert edgec.verify(built.directory).outputs
    assert edgec.bench(built.directory, iterations=5).latency.iterations == 5
    float32 = list(edgec.features(tmp_path / "checkpoint", tmp_path / "frames", size=edgec.Size(32, 48), layers=[1]))
    shipped = list(edgec.features(built.directory, [each.pixels for each in float32[:3]]))
    assert float32[0].name == "scene a.png"
    assert {name: value.shape for name, value in float32[0].outputs.items()} == {
        "cls": (64,),
        "patches": (2, 3, 64),
        "patches_1": (2, 3, 64),
    }
    assert [each.name for each in shipped] == ["0", "1", "2"]
    for one, other in zip(float32, shipped, strict=False):
        assert np.abs(one.outputs["patches"] - other.outputs["patches"]).max() < 1e-3
    with pytest.raises(edgec.RequestError, match="An artefact says itself what size is"):
        edgec.features(built.directory, [], size=edgec.Size(64, 64))
    with pytest.raises(edgec.RequestError, match=r"A frame is not uint8 \[H, W, 3\]"):
        list(edgec.features(built.directory, [np.zeros((3, 32, 48), np.uint8)]))
    request = edgec.BuildRequest(str(tmp_path / "checkpoint"), **options)
    other = edgec.build(request, output=tmp_path / "b.edgec", seed=1)
    (comparison,) = edgec.compare(built.directory, other.directory)
    assert comparison.first.reports[0].target == comparison.second.reports[0].target


def test_errors_are_edgec_errors(tmp_path: Path) -> None:
    with pytest.raises(edgec.EdgecError) as caught:
        edgec.build(tmp_path / "nothing")
    assert caught.value.what
    with pytest.raises(edgec.ArtefactError):
        edgec.verify(tmp_path)
    with pytest.raises(TypeError, match="wheels"):
        edgec.build("demo", wheels=4)
