from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgec.errors import CalibrationError
from edgec.graph.peaks import observe_peaks
from edgec.graph.session import open_session
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, SMALL, VIT, exported
from tests.support.onnx_graphs import replace_constant


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_peaks_are_those_of_the_activations_themselves(spec: object) -> None:
    hub = exported(spec).hub  # type: ignore[arg-type]
    frames = pictures(SMALL, 3)
    peaks = observe_peaks(ir.from_proto(hub), list(frames), 1)
    made = {name for node in hub.graph.node for name in node.output} - {"cls", "patches"}
    floats = [value.name for value in hub.graph.value_info if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    names = [name for name in floats if name in made]
    watched = onnx.ModelProto()
    watched.CopyFrom(hub)
    watched.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = open_session(watched)
    runs = [session.run(names, {"frames": frame[None]}) for frame in frames]
    assert set(peaks) == {*names, "cls", "patches"}
    for index, name in enumerate(names):
        assert peaks[name] == pytest.approx(max(np.abs(run[index]).max() for run in runs), rel=1e-4)


def test_a_batch_that_is_not_full_changes_nothing() -> None:
    made = exported(VIT, batch=2)
    frames = list(pictures(SMALL, 3))
    assert observe_peaks(made.graph, frames, 2) == pytest.approx(observe_peaks(exported(VIT).graph, frames, 1), rel=1e-4)


def test_no_frames() -> None:
    with pytest.raises(CalibrationError, match="no frame"):
        observe_peaks(exported(VIT).graph, [], 1)


def test_nan_is_named_where_it_begins() -> None:
    hub = exported(VIT).graph
    replace_constant(hub, "blocks.1.attn.proj.bias", lambda value: np.where(np.arange(len(value)) == 3, np.nan, value))
    with pytest.raises(CalibrationError) as caught:
        observe_peaks(hub, list(pictures(SMALL, 1)), 1)
    assert caught.value.evidence == ("first at the activation blocks.1.attn.proj.add",)
