"""As coremltools/models/utils.py, as far as the program uses it."""

from __future__ import annotations

import shutil

from coremltools import planted


def compile_model(model: str, destination_path: str | None = None) -> str:
    assert model.endswith(".mlpackage")
    assert destination_path is not None
    assert destination_path.endswith(".mlmodelc")
    if planted("refuse-compile"):
        raise RuntimeError('Error compiling model: "Failed to parse the model specification."')
    shutil.copytree(model, destination_path)
    return destination_path
