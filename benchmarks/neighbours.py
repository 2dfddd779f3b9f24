"""What CLS is good for: the class of a small picture by those of its nearest neighbours, leaving itself out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.contender import Run
from edgec import frames as framing
from edgec.frames import Pixels
from edgec.model.spec import Size

NEIGHBOURS = 5


def labelled_pictures(folder: str, size: Size) -> tuple[list[Pixels], list[str]]:
    """Pictures in `folder/CLASS/`, at the model's size, and their classes."""
    batches = list(framing.batches(framing.load(folder).frames, size))
    return [pixels for _, pixels in batches], [frame.name.split("/")[0] for frame, _ in batches]


@dataclass(frozen=True)
class Neighbours:
    """Which of the pictures are told right, [N], by float32's features, by int8's, and by OpenVINO's bfloat16 where it is among
    the peers: what a type that nobody doubts changes about so few pictures is a yardstick for what int8 does."""

    float32: NDArray[np.bool_]
    int8: NDArray[np.bool_]
    bfloat16: NDArray[np.bool_] | None = None


def right_of(run: Run, pictures: Sequence[Pixels], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Which pictures `run` classifies right by their neighbours, bool [N]."""
    return right(np.concatenate([run(picture)["cls"] for picture in pictures]), labels)


def right(features: NDArray[np.float32], labels: Sequence[str], neighbours: int = NEIGHBOURS) -> NDArray[np.bool_]:
    """Leave one out, by cosine, the majority of the nearest; of classes with as many votes the one that is nearer in sum.

    `features` is float32 [N, D].
    """
    vectors = features.astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    closeness = vectors @ vectors.T
    np.fill_diagonal(closeness, -np.inf)
    hits = []
    for row, label in zip(closeness, labels, strict=True):
        votes: dict[str, tuple[int, float]] = {}
        for index in np.argsort(-row, kind="stable")[:neighbours]:
            count, near = votes.get(labels[index], (0, 0.0))
            votes[labels[index]] = (count + 1, near + float(row[index]))
        hits.append(max(votes, key=lambda name: votes[name]) == label)
    return np.array(hits)
