"""Checkpoints and target profiles on disk, as users have them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from edgec.model.spec import VitSpec

SMALL = VitSpec(64, 2, 1, 128)


def save_checkpoint(folder: Path, spec: VitSpec = SMALL, seed: int = 0) -> Path:
    """A Hugging Face directory, written by `transformers` itself."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=spec.width,
        num_hidden_layers=spec.depth,
        num_attention_heads=spec.heads,
        intermediate_size=spec.mlp_width,
        num_register_tokens=spec.registers,
        patch_size=spec.patch,
        use_gated_mlp=spec.mlp == "swiglu",
        hidden_act="silu" if spec.mlp == "swiglu" else "gelu",
    )
    model = DINOv3ViTModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.15, generator=generator)
            if parameter.ndim in (2, 4):
                parameter.mul_(10 * parameter[0].numel() ** -0.5)
            elif "lambda" in name or ("norm" in name and name.endswith("weight")):
                parameter.add_(1)
    model.save_pretrained(folder)
    processor = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "rescale_factor": 1 / 255}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def save_profile(path: Path, precisions: Mapping[str, Sequence[str]]) -> Path:
    """A target for this very host, whatever it is, that offers just these runtimes for these precisions."""
    arm = platform.machine() in ("aarch64", "arm64")
    lines = [
        f'name = "{path.stem}"',
        'family = "cpu"',
        'title = "made for a test"',
        f'architecture = "{"aarch64" if arm else "x86_64"}"',
        f'isa = ["{"asimd" if arm else "sse4_2"}"]',
        "[precisions]",
        *(f"{precision} = {list(runtimes)!r}".replace("'", '"') for precision, runtimes in precisions.items()),
        "[int8]",
        "dot_product = false",
        f'activations = "{"s8" if arm else "u8"}"',
        "pairs_saturate = false",
    ]
    path.write_text("\n".join(lines) + "\n")
    return path
