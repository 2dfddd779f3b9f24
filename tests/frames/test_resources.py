from __future__ import annotations

import subprocess
import sys

import pytest

from edgec import resources
from edgec.errors import EdgecError


def test_an_installed_wheels_room_wins(tmp_path, monkeypatch):
    (tmp_path / "calibration").mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "edgec")
    assert resources.room("calibration") == tmp_path / "calibration"
    (tmp_path / "edgec" / "_data" / "calibration").mkdir(parents=True)
    assert resources.room("calibration") == tmp_path / "edgec" / "_data" / "calibration"


def test_a_missing_room_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "edgec")
    with pytest.raises(EdgecError, match="incomplete") as caught:
        resources.room("targets")
    assert str(tmp_path / "targets") in str(caught.value)


def test_frames_import_no_framework():
    heavy = {"torch", "onnx", "onnxruntime", "openvino", "av"}
    code = f"import sys, edgec.frames, edgec.frames.lint; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
