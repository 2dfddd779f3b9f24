"""Lowerings are found through entry points, edgec's own like anybody's; a broken one harms no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.errors import TargetError
from edgec.lowering import registry
from tests.support.commands import python


def test_edgec_s_own_are_registered() -> None:
    actual = registry.all_lowerings()
    assert {"openvino", "onnxruntime", "tensorrt"} <= set(actual)
    assert list(actual) == sorted(actual)
    for name, lowering in actual.items():
        assert lowering.name == name
        assert registry.get(name) is lowering


@pytest.mark.parametrize("name", ["", "OpenVINO", "tensorrt-nope", "openvino "])
def test_an_unknown_name_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(TargetError, match="no lowering named") as caught:
        registry.get(name)
    assert "openvino" in str(caught.value)
    assert "onnxruntime" in str(caught.value)


def test_third_parties_register_theirs_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    package = tmp_path / "theirs-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[edgec.lowerings]\n"
        "good = theirs:Good\n"
        "absent = no_such_module:Lowering\n"
        "lacking = theirs:Missing\n"
        "unfinished = theirs:Unfinished\n"
        "broken = theirs_broken:Lowering\n"
        "misspelt = theirs_misspelt:Lowering\n"
    )
    (tmp_path / "theirs.py").write_text(
        "from edgec.lowering.base import Lowering\n"
        "from edgec.lowering.onnxruntime import OnnxRuntime\n"
        "class Good(OnnxRuntime):\n    name = 'good'\n"
        "class Unfinished(Lowering):\n    name = 'unfinished'\n"
    )
    (tmp_path / "theirs_broken.py").write_text("raise RuntimeError('no such device')\n")
    (tmp_path / "theirs_misspelt.py").write_text("def (:\n")
    done = python(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from edgec.lowering import registry\n"
        "print(*registry.all_lowerings())\n"
        "print(registry.get('good').availability().available)\n",
        tmp_path,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    names, available = done.stdout.splitlines()
    assert names.split() == ["coreml", "good", "onnxruntime", "openvino", "tensorrt"]
    assert available == "True"
