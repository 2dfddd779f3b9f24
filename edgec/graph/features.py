"""What a hub graph computes of frames, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.batches import filled
from edgec.frames.types import Pixels
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.session import features_of, open_session


def by_frame(
    hub: ir.Model, outputs: Sequence[str], frames: Iterable[Pixels], batch: int, *, threads: int | None = None
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """These outputs of each frame, uint8 [H, W, 3], by name, without the axis of the batch. The graph is changed. Raises as
    `edgec.graph.session.open_session`."""
    session = open_session(GiveOnly(outputs)(hub).model, threads=threads)
    waiting = iter(frames)
    while held := list(islice(waiting, batch)):
        features = features_of(session, filled(held, batch))
        for index in range(len(held)):
            yield {name: values[index] for name, values in features.items()}
