"""Planted outliers: the float32 function is the same, and the activations really have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.outliers import NORM_FACTORS, V_FACTORS, plant, sites, write_huggingface
from edgec.checkpoint import Checkpoint, read
from edgec.graph.operations import operations
from edgec.model.camera import assemble
from edgec.model.spec import Size
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, HEADS, SMALL, SWIGLU, VIT, exported, random_checkpoint
from tests.support.outliers import channel_reach, outlier_checkpoint, outlier_hub

SPECS = {"vit": VIT, "swiglu": SWIGLU, "two-heads": HEADS, "convnext": CONVNEXT}


def _features(checkpoint: Checkpoint, size: Size = SMALL) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        outputs = assemble(checkpoint, size, folded=False)(torch.from_numpy(pictures(size, 2)))
    return {name: value.numpy() for name, value in outputs.items()}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_float32_function_is_unchanged(spec: object) -> None:
    plain, planted = random_checkpoint(spec), outlier_checkpoint(spec)
    changed = [name for name in plain.weights if not torch.equal(plain.weights[name], planted.weights[name])]
    makers = {f"{site.maker}.{kind}" for site in sites(spec) for kind in ("weight", "bias")}
    readers = {f"{reader}.weight" for site in sites(spec) for reader in site.readers}
    assert set(changed) == makers | readers
    expected, actual = _features(plain), _features(planted)
    for name, value in expected.items():
        assert value.std() > 0.1
        np.testing.assert_allclose(actual[name], value, atol=1e-4 * np.abs(value).max())


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_activations_have_outliers(spec: object) -> None:
    """Of every activation behind a site, as many channels as were planted reach as many times further than they did."""
    plain, planted, frames = exported(spec).graph, outlier_hub(spec), pictures(SMALL, 2)
    before = {operation.name: operation for operation in operations(plain)}
    after = {operation.name: operation for operation in operations(planted)}
    assert before.keys() == after.keys()
    for site in sites(spec):
        reader = site.readers[0]
        axis = 1 if reader.endswith(".downsample") else -1
        ratio = channel_reach(planted, after[reader].activation, frames, axis) / channel_reach(
            plain, before[reader].activation, frames, axis
        )
        raised = np.sort(ratio[ratio > 4])[::-1]
        np.testing.assert_allclose(raised, site.factors, rtol=2e-3)
        np.testing.assert_allclose(ratio[ratio <= 4], 1, rtol=2e-3)


def test_every_site_has_channels_of_its_own_drawn_by_the_seed() -> None:
    def raised(checkpoint: Checkpoint) -> list[tuple[int, ...]]:
        scales = [checkpoint.weights[f"blocks.{i}.norm1.weight"] / plain.weights[f"blocks.{i}.norm1.weight"] for i in (0, 1)]
        return [tuple(np.flatnonzero(scale.numpy() > 4)) for scale in scales]

    plain = random_checkpoint(VIT)
    first, again, other = (raised(plant(plain, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert first[0] != first[1]
    assert all(len(channels) == len(NORM_FACTORS) for channels in first)
    assert len(V_FACTORS) == sum(
        plant(plain).weights["blocks.0.attn.v.bias"].numpy() / plain.weights["blocks.0.attn.v.bias"].numpy() > 4
    )


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_edgec_and_transformers_read_the_same_file(spec: object, tmp_path: Path) -> None:
    from transformers import AutoModel

    planted = outlier_checkpoint(spec)
    write_huggingface(planted, tmp_path)
    again = read(str(tmp_path))
    assert (again.spec, again.form, again.stored_dtype) == (spec, "huggingface", "float32")
    assert (again.normalisation.mean, again.normalisation.std) == (planted.normalisation.mean, planted.normalisation.std)
    assert again.weights.keys() == planted.weights.keys()
    assert all(torch.equal(again.weights[name], planted.weights[name]) for name in again.weights)
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    frames = torch.from_numpy(pictures(SMALL, 1)).float() / 255
    mean, std = torch.tensor(planted.normalisation.mean), torch.tensor(planted.normalisation.std)
    with torch.inference_mode():
        theirs = model(((frames - mean) / std).permute(0, 3, 1, 2)).last_hidden_state[0].numpy()
    ours = _features(planted)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours["cls"][0], theirs[0], atol=1e-4 * scale)
    patches = ours["patches"][0].reshape(-1, theirs.shape[-1])
    np.testing.assert_allclose(patches, theirs[-len(patches) :], atol=1e-4 * scale)


def test_strange_rotary_periods_are_refused(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(VIT)
    checkpoint.weights["rope_periods"].mul_(1.01)
    with pytest.raises(ValueError, match="rotary periods"):
        write_huggingface(checkpoint, tmp_path)
