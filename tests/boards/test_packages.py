"""Which wheels a board gets: for its Python, architecture and C library, or its macOS."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgec.boards.artefact import BoardArtefact
from edgec.boards.packages import Machine, collect, requirements
from edgec.errors import ArtefactError, BoardRuntimeMissing

MAC = {"title": "Apple M4", "python": [3, 9], "machine": "arm64", "libc": None, "runtimes": {}, "missing": ["coreml"]}
NEEDED = {"coreml": ["coremltools==9.0", "numpy", "pillow"]}


def asked(**variant: Any) -> dict[str, list[str]]:
    artefact = object.__new__(BoardArtefact)
    object.__setattr__(artefact, "document", json.dumps({"variants": [{"name": "x", **variant}]}).encode())
    return requirements(artefact)


def test_what_a_runtime_needs() -> None:
    assert asked(runtime="openvino", version="2025.3") == {"openvino": ["openvino==2025.3"]}
    assert asked(runtime="coreml", version="9.0", packages=NEEDED["coreml"]) == NEEDED
    assert asked() == {}
    for packages in (["../x"], ["x==y"], ["x", "--index-url=evil"], ["x==1 y"]):
        with pytest.raises(ArtefactError, match="is no package"):
            asked(runtime="coreml", version="9.0", packages=packages)


@pytest.mark.parametrize(("macos", "first"), [("15.4.1", 15), ("26.0", 26), ("10.15", 11)])
def test_the_tags_of_a_mac(macos: str, first: int) -> None:
    assert Machine.parse({**MAC, "macos": macos}).platforms == [f"macosx_{first}_0_arm64"]


def test_wheels_for_a_mac_come_from_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip chooses them: those for macOS, of this Python, or older ones."""
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in (
        "coremltools-9.0-cp39-none-macosx_11_0_arm64",
        "coremltools-9.0-cp313-none-macosx_11_0_arm64",
        "numpy-2.0.2-cp39-cp39-macosx_14_0_arm64",
        "numpy-2.0.2-cp39-cp39-manylinux2014_aarch64",
        "pillow-11.3.0-cp39-cp39-macosx_10_9_universal2",
    ):
        project, version = name.split("-")[:2]
        with zipfile.ZipFile(folder / f"{name}.whl", "w") as wheel:
            wheel.writestr(
                f"{project}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
            )
            wheel.writestr(f"{project}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
            wheel.writestr(f"{project}-{version}.dist-info/RECORD", "")
    wheels = collect(Machine.parse({**MAC, "macos": "15.4.1"}), NEEDED, folder).wheels
    assert [wheel.name.split("-")[2:] for wheel in wheels] == [
        ["cp39", "none", "macosx_11_0_arm64.whl"],
        ["cp39", "cp39", "macosx_14_0_arm64.whl"],
        ["cp39", "cp39", "macosx_10_9_universal2.whl"],
    ]
    with pytest.raises(BoardRuntimeMissing) as refused:
        collect(Machine.parse({**MAC, "macos": "12.7"}), NEEDED, folder)
    assert "Python 3.9 on arm64, macOS 12" in " ".join(refused.value.evidence)
