"""What a checkpoint says of its own classifier's pooling, and heads that are that classifier: against timm's own scores."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgec.checkpoint import Checkpoint, read
from edgec.errors import HeadError
from edgec.heads import check_heads, read_heads
from edgec.heads.reference import CameraModelWithHeads
from edgec.model.camera import assemble
from edgec.model.spec import Size

SIZE = Size(64, 96)
ARCHITECTURES = {
    "vit": ("vit_tiny_patch16_dinov3_qkvb", {"depth": 1}),
    "convnext": ("convnext_tiny.dinov3_lvd1689m", {"depths": (1, 1, 1, 1)}),
}


def classifier(timm: ModuleType, kit: SimpleNamespace, family: str, folder: Path, **changes: Any) -> tuple[Any, Path]:
    """timm's model with five classes, saved as timm does it, and its classifier as a head in a file of its own."""
    name, arguments = ARCHITECTURES[family]
    model = kit.randomise(timm.create_model(name, num_classes=5, **arguments, **changes))
    timm.models._hub.save_for_hf(model, folder, model_args={**arguments, **changes})
    own = model.head if family == "vit" else model.head.fc
    save_file({"weight": own.weight.detach(), "bias": own.bias.detach()}, folder.with_suffix(".head.safetensors"))
    return model, folder.with_suffix(".head.safetensors")


def check(checkpoint: Checkpoint, head: Path, features: str | None) -> Any:
    said = f'kind = "linear"\nwidth = {checkpoint.spec.features}\n' + (f'features = "{features}"\n' if features else "")
    head.with_suffix(".toml").write_text(said)
    heads = read_heads((f"kind={head}",))
    assert checkpoint.classifier is not None
    check_heads(heads, checkpoint.spec, SIZE, pooling=checkpoint.pooling, classifier=checkpoint.classifier.numpy())
    return heads


@pytest.mark.parametrize(
    ("family", "changes", "right", "wrong"),
    [
        ("vit", {}, "mean", ("cls", None)),
        ("vit", {"global_pool": "avg"}, "mean", ("cls", None)),
        ("vit", {"global_pool": "token"}, "cls", ("mean", None)),
        ("convnext", {}, "cls", ("mean", None)),
    ],
)
def test_the_classifier_reads_what_timms_does(
    family: str,
    changes: dict[str, str],
    right: str,
    wrong: tuple[str | None, ...],
    timm: ModuleType,
    kit: SimpleNamespace,
    tmp_path: Path,
) -> None:
    model, head = classifier(timm, kit, family, tmp_path / "timm", **changes)
    checkpoint = read(str(tmp_path / "timm"))
    for features in wrong:
        with pytest.raises(HeadError, match="own classifier") as caught:
            check(checkpoint, head, features)
        assert f'features = "{right}"' in str(caught.value)
    heads = check(checkpoint, head, right)
    frames = torch.randint(0, 256, (2, 64, 96, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mean, std = (torch.tensor(each)[:, None, None] for each in (checkpoint.normalisation.mean, checkpoint.normalisation.std))
    with torch.no_grad():
        expected = model((frames.permute(0, 3, 1, 2) / 255 - mean) / std).numpy()
        scores = CameraModelWithHeads(assemble(checkpoint, SIZE, folded=False), heads)(frames)["kind"].numpy()
    assert np.abs(scores - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_pooling_that_edgec_lacks(timm: ModuleType, kit: SimpleNamespace, tmp_path: Path) -> None:
    _, head = classifier(timm, kit, "vit", tmp_path / "timm")
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    (tmp_path / "timm" / "config.json").write_text(json.dumps({**config, "model_args": {}, "global_pool": "avgmax"}))
    with pytest.raises(HeadError, match="own classifier") as caught:
        check(read(str(tmp_path / "timm")), head, "mean")
    assert "ONNX" in str(caught.value)
