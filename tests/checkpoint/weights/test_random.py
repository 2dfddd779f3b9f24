"""`random:ARCH` and the demo."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from edgec.checkpoint import read
from edgec.model.spec import FAMILY, Size


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (read("random:vitt16", seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert not torch.equal(first.weights["norm.weight"], other.weights["norm.weight"])
    assert first.sha256 == again.sha256 != other.sha256
    assert first.random_weights
    assert any("random weights" in finding.text for finding in first.findings)


@pytest.mark.parametrize("arch", ["vitt16", "vits16plus", "convnext_tiny"])
def test_features_of_random_weights_are_not_degenerate(arch: str, kit: SimpleNamespace) -> None:
    checkpoint = read(f"random:{arch}")
    assert checkpoint.spec == FAMILY[arch]
    pixels = torch.cat([kit.pixels(Size(224, 224), seed) for seed in (0, 1)])
    # A frame of large plain areas, as cameras give them.
    pixels[1] = functional.interpolate(pixels[1:, :, :4, :4], size=(224, 224))[0]
    features = kit.our_features(checkpoint, pixels)
    assert functional.cosine_similarity(*features["cls"], dim=0) < 0.99
    patches = functional.normalize(features["patches"].flatten(1, 2), dim=-1)
    for frame in patches:
        assert (frame @ frame.T).mean() < 0.97
        assert torch.isfinite(frame).all()


@pytest.mark.parametrize("arch", ["vitt16", "convnext_tiny"])
def test_every_block_of_random_weights_does_something(arch: str, kit: SimpleNamespace) -> None:
    weights = read(f"random:{arch}").weights
    scales = torch.cat([tensor for name, tensor in weights.items() if name.endswith((".ls1", ".ls2", ".gamma"))])
    assert 0.0099 < scales.min() < 0.02
    assert 0.5 < scales.max() <= 1
    matrices = [tensor for name, tensor in weights.items() if name.endswith("fc1.weight")]
    assert all(0.015 < tensor.std() < 0.02 and tensor.abs().max() <= 0.0401 for tensor in matrices)


def test_the_demo_tells_frames_apart(kit: SimpleNamespace) -> None:
    checkpoint = read("demo")
    assert (checkpoint.name, checkpoint.form, checkpoint.spec) == ("demo", "huggingface", FAMILY["vitt16"])
    assert not checkpoint.random_weights
    features = kit.our_features(checkpoint, kit.pixels(Size(64, 96)))
    assert features["patches"].shape == (1, 4, 6, 192)
    assert features["patches"].std() > 0.1
