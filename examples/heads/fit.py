"""Fit two heads on a frozen backbone: a linear classifier of pictures, and a mask of what moves in a street camera's video.

    python examples/heads/fit.py CHECKPOINT --labelled FOLDER --video VIDEO --output heads/

`--labelled` is a folder CLASS/picture. The mask needs no labels: a fixed camera's background is the median of its frames, and
what differs from it moves; the head learns to see that in a single frame. Both are scikit-learn's logistic regressions on the
float32 backbone's features, which `edgec.features` gives; the files written are what `edgec build --head NAME=PATH` takes. Needs
the extras `examples` and `video`.
"""

from __future__ import annotations

import argparse
import json
import os

# Before torch starts its threads: those that spin while they wait quarter its speed on a machine that others use too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import edgec

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
PATCH = 16
"""Pixels of a patch's side, of any DINOv3 ViT."""

FIRST = 0.5
"""The share of the video that may be learnt from; the rest is for judging."""
TAUGHT, JUDGED, SEEN = 30, 8, 40
"""Frames for learning, for judging, and for the median."""
DIFFERENCE = 36
"""How far a channel of a pixel must be from the background's, of 255, to have moved."""
FULL, EMPTY = 0.4, 0.04
"""From the first share of its pixels on a patch counts as moving, up to the second as ground; patches in between are not used."""


def main() -> None:
    """Fit both heads and write them."""
    parser = argparse.ArgumentParser(description="Fit a classifier and a mask on a frozen backbone.")
    parser.add_argument("checkpoint")
    parser.add_argument("--labelled", type=Path, required=True, help="a folder CLASS/picture")
    parser.add_argument("--video", required=True, help="of a camera that does not move")
    parser.add_argument("--output", type=Path, required=True, help="the folder that the two heads are written to")
    parser.add_argument("--input-size", type=edgec.Size.parse, default=edgec.Size(288, 384), help="N or HxW (default: 288x384)")
    parser.add_argument("--masks", type=Path, help="write pictures of what the mask learnt from, and of what it says, here")
    options = parser.parse_args()
    classifier = fit_classifier(options.checkpoint, options.input_size, options.labelled)
    mask = fit_mask(options.checkpoint, options.input_size, options.video, options.masks)
    options.output.mkdir(parents=True, exist_ok=True)
    write(options.output / "class.safetensors", *classifier, kind="linear", features="cls+mean", patch=PATCH)
    write(options.output / "movers.safetensors", *mask, kind="segmentation", output="labels", patch=PATCH)


def write(path: Path, pipeline: Pipeline, classes: Sequence[str], **facts: Any) -> None:
    """Write a head: its tensors and, as text, what they are."""
    weight, bias = folded(pipeline)
    metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    save_file({"weight": weight, "bias": bias}, path, {**metadata, "classes": json.dumps(list(classes))})
    print(f"wrote {path}")


def folded(pipeline: Pipeline) -> tuple[Floats, Floats]:
    """A standardisation and a logistic regression as one product, [classes, inputs] and [classes]. For two classes scikit-learn
    has only the second one's score; the first one's is then zero."""
    scaler, regression = pipeline[0], pipeline[1]
    weight = regression.coef_ / scaler.scale_
    bias = regression.intercept_ - weight @ scaler.mean_
    if len(weight) == 1:
        weight, bias = np.concatenate([weight * 0, weight]), np.concatenate([bias * 0, bias])
    return weight.astype(np.float32), bias.astype(np.float32)


def fit_classifier(checkpoint: str, size: edgec.Size, folder: Path) -> tuple[Pipeline, list[str]]:
    """Fit a classifier on CLS and the mean of the patches, concatenated as in DINOv3's own linear evaluation."""
    rows, names = [], []
    for frame in edgec.features(checkpoint, folder, size=size):
        rows.append(np.concatenate([frame.outputs["cls"], frame.outputs["patches"].mean(axis=(0, 1))]))
        names.append(frame.name.split("/")[-2])
    classes = sorted(set(names))
    x, y = np.stack(rows), np.array([classes.index(name) for name in names])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    common = np.isin(y, [index for index in range(len(classes)) if (y == index).sum() >= 4])
    guessed = cross_val_predict(pipeline, x[common], y[common], cv=4)
    print(
        f"classifier: {len(y)} pictures of {len(classes)} classes, {(guessed == y[common]).mean():.0%} right when left out",
        flush=True,
    )
    return pipeline.fit(x, y), classes


def fit_mask(checkpoint: str, size: edgec.Size, video: str, pictures: Path | None) -> tuple[Pipeline, list[str]]:
    """Fit a classifier of patches: movers against the rest."""
    frames = film(video)
    end = int(len(frames) * FIRST)
    early = list(edgec.features(checkpoint, spread(frames[:end], SEEN), size=size))
    background = np.median(np.stack([frame.pixels for frame in early]), axis=0).astype(np.uint8)
    rows, labels = [], []
    for frame in spread(early, TAUGHT):
        share = shares(moving(frame.pixels, background))
        sure = (share >= FULL) | (share <= EMPTY)
        rows.append(frame.outputs["patches"][sure])
        labels.append(share[sure] >= FULL)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    x, y = np.concatenate(rows), np.concatenate(labels)
    pipeline.fit(x, y)
    both = either = 0
    for number, frame in enumerate(edgec.features(checkpoint, spread(frames[end:], JUDGED), size=size)):
        truth = moving(frame.pixels, background)
        share = shares(truth)
        sure = (share >= FULL) | (share <= EMPTY)
        patches = frame.outputs["patches"]
        predicted = pipeline.predict(patches.reshape(-1, patches.shape[-1])).reshape(share.shape).astype(bool)
        both += int((predicted & (share >= FULL) & sure).sum())
        either += int(((predicted | (share >= FULL)) & sure).sum())
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
            drawn = predicted.repeat(PATCH, 0).repeat(PATCH, 1)
            panels = [frame.pixels, painted(frame.pixels, truth), painted(frame.pixels, drawn)]
            Image.fromarray(np.concatenate(panels, axis=1)).save(pictures / f"later_{number}.png")
    print(f"mask: {len(y)} patches, {y.mean():.1%} of them movers'", flush=True)
    print(f"mask: IoU {both / max(either, 1):.2f} with background subtraction on the clear patches of later frames", flush=True)
    return pipeline, ["rest", "mover"]


def film(video: str) -> list[Pixels]:
    """All frames of a video, uint8 [H, W, 3]."""
    with av.open(video) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def moving(frame: Pixels, background: Pixels) -> NDArray[np.bool_]:
    """Where a frame differs from the background, [H, W], without specks and holes."""
    apart = np.abs(blurred(frame).astype(np.int16) - blurred(background)).max(axis=2) > DIFFERENCE
    mask = Image.fromarray(apart.astype(np.uint8) * 255)
    for cleaning in (ImageFilter.MedianFilter(5), ImageFilter.MaxFilter(7), ImageFilter.MinFilter(7)):
        mask = mask.filter(cleaning)
    return np.asarray(mask) > 127


def blurred(picture: Pixels) -> Pixels:
    """Blurred, so that noise does not count as movement."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.5)))


def shares(mask: NDArray[np.bool_]) -> Floats:
    """How much of each patch is in the mask, [rows, columns]."""
    rows, columns = mask.shape[0] // PATCH, mask.shape[1] // PATCH
    return mask.reshape(rows, PATCH, columns, PATCH).mean(axis=(1, 3), dtype=np.float32)


def painted(frame: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    """The frame with the mask [H, W] in red."""
    return np.where(mask[..., None], frame // 2 + np.array([127, 20, 20], np.uint8), frame)


def spread(values: Sequence[Any], count: int) -> Iterator[Any]:
    """At most `count` of the values, evenly spaced."""
    return (values[index] for index in np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int))


if __name__ == "__main__":
    main()
