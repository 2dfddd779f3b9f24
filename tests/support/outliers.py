"""Small models with outliers planted in their weights, and a look at the activations that these make."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from benchmarks.outliers import plant
from edgec.checkpoint import Checkpoint
from edgec.graph.export import export
from edgec.graph.files import serialised
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.session import open_session
from edgec.model.camera import assemble
from edgec.model.spec import Size, Spec
from tests.support.models import SMALL, random_checkpoint


@cache
def outlier_checkpoint(spec: Spec, seed: int = 0) -> Checkpoint:
    """`random_checkpoint` of the same seed computes the same features."""
    return plant(random_checkpoint(spec, seed), seed=seed)


@cache
def _outlier_hub(spec: Spec, size: Size, seed: int) -> bytes:
    model = assemble(outlier_checkpoint(spec, seed), size, folded=True)
    return serialised(export(model, spec, size, 1))


def outlier_hub(spec: Spec, size: Size = SMALL, seed: int = 0) -> ir.Model:
    """Its hub graph, a copy of one's own each time."""
    return ir.from_proto(onnx.ModelProto.FromString(_outlier_hub(spec, size, seed)))


def channel_reach(hub: ir.Model, tensor: str, frames: NDArray[np.uint8], axis: int = -1) -> NDArray[np.float32]:
    """The largest absolute value of each of an activation's channels over these frames, [C]."""
    session: Any = open_session(rewritten(hub, GiveOnly([tensor])))
    values = np.concatenate([session.run([tensor], {"frames": frame[None]})[0] for frame in frames])
    others = tuple(index for index in range(values.ndim) if index != axis % values.ndim)
    found: NDArray[np.float32] = np.abs(values).max(axis=others)
    return found
