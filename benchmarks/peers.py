"""The peers: what edgec's users would otherwise deploy, made from the plain export that a user of `transformers` makes."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contender import Contender
from edgec.checkpoint import read
from edgec.fidelity.metrics import Features
from edgec.frames import Pixels
from edgec.model.spec import Size, grid

NNCF_TRANSFORMER = "NNCF quantize, TRANSFORMER"
NNCF_PLAIN = "NNCF quantize, no model type"
HALF = "OpenVINO {}, its default here"
NNCF_HUB = "NNCF TRANSFORMER on edgec's hub graph"
ORT_S8S8 = "ONNX Runtime quantize_static S8S8"
TORCH = "torch eager float32"
GROUP = 128
"""Channels that share a scale where OpenVINO quantises activations per token."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Preparation:
    """From a camera frame to the plain export's input, and from its output to named features.

    Normalising is part of a peer's latency: a robot's program has to do it.
    """

    mean: Floats
    std: Floats
    prefix: int
    shape: tuple[int, int, int, int]

    def normalised(self, frame: Pixels) -> Floats:
        """float32 [1, 3, H, W]."""
        pixels = (frame.astype(np.float32) / 255 - self.mean) / self.std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)

    def named(self, tokens: Floats) -> Features:
        """float32 tokens [1, prefix + patches, D] as `cls` and `patches`."""
        return {"cls": tokens[:, 0], "patches": tokens[:, self.prefix :].reshape(self.shape)}

    def contender(self, name: str, run: Callable[[Floats], Floats]) -> Contender:
        """One that normalises, runs and names its outputs."""
        return Contender(name, lambda frame: self.named(run(self.normalised(frame))))


def preparation(checkpoint: str, size: Size) -> Preparation:
    """From what the checkpoint states of its preprocessing and its shape."""
    source = read(checkpoint)
    mean, std = (np.array(value, dtype=np.float32) for value in (source.normalisation.mean, source.normalisation.std))
    return Preparation(mean, std, 1 + source.spec.registers, (1, *grid(source.spec, size), source.spec.features))


def peer_contenders(
    checkpoint: str, calibrate: Sequence[Pixels], size: Size, threads: int, folder: Path, hub: Any = None
) -> Iterator[Contender]:
    """The first one is torch in float32: what all are compared with. With a `hub` graph, NNCF is also given that one, which
    takes the camera's frame and is better to quantise than the plain export: the harder peer."""
    source = Path(__file__).parent.parent / "edgec" / "checkpoint" / "demo" if checkpoint == "demo" else Path(checkpoint)
    prepare = preparation(checkpoint, size)
    model = _transformers_model(source)
    yield prepare.contender(TORCH, _torch_run(model, threads))
    path = _exported(model, size, folder)
    samples = [prepare.normalised(frame) for frame in calibrate]
    makers: dict[str, Callable[[], Callable[[Floats], Floats]]] = {
        "ONNX Runtime float32": lambda: _ort(path, threads),
        "ONNX Runtime quantize_static U8S8": lambda: _ort(_ort_static(path, samples, folder, symmetric=False), threads),
        ORT_S8S8: lambda: _ort(_ort_static(path, samples, folder, symmetric=True), threads),
        "ONNX Runtime quantize_dynamic": lambda: _ort(_ort_dynamic(path, folder), threads),
        **_openvino_makers(path, samples, threads),
    }
    for name, make in makers.items():
        with _quiet():
            run = make()
        yield prepare.contender(name, run)
    if hub is not None:
        with _quiet():
            on_hub = _on_hub(hub, calibrate, threads, folder)
        yield Contender(NNCF_HUB, on_hub)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tools' own talk: their warnings are about the files that a user would give them, which these are."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _transformers_model(source: Path) -> Any:
    import torch
    from transformers import AutoModel

    return AutoModel.from_pretrained(source, dtype=torch.float32).eval()


def _torch_run(model: Any, threads: int) -> Callable[[Floats], Floats]:
    import torch

    torch.set_num_threads(threads)

    def run(pixels: Floats) -> Floats:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(pixels)).last_hidden_state.numpy())

    return run


def _exported(model: Any, size: Size, folder: Path) -> Path:
    """The plain export that a user of transformers would make."""
    import torch

    class Tokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.model(pixel_values).last_hidden_state  # type: ignore[no-any-return]

    path = folder / "plain.onnx"
    example = (torch.zeros(1, 3, size.height, size.width),)
    with _quiet():
        program = torch.onnx.export(
            Tokens(), example, dynamo=True, opset_version=18, external_data=False, input_names=["pixel_values"], verbose=False
        )
    assert program is not None
    program.save(path)
    return path


def _ort(path: Path, threads: int) -> Callable[[Floats], Floats]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Idle threads of one contender must not spin while another runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run(None, {"pixel_values": pixels})[0])


def _ort_static(path: Path, samples: Sequence[Floats], folder: Path, *, symmetric: bool) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> dict[str, Floats] | None:
            sample = next(self.left, None)
            return None if sample is None else {"pixel_values": sample}

    written = folder / f"static-{symmetric}.onnx"
    activation = QuantType.QInt8 if symmetric else QuantType.QUInt8
    quantize_static(
        path,
        written,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=activation,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True},
    )
    return written


def _ort_dynamic(path: Path, folder: Path) -> Path:
    from onnxruntime.quantization import quantize_dynamic

    written = folder / "dynamic.onnx"
    quantize_dynamic(path, written, per_channel=True)
    return written


def _openvino_makers(path: Path, samples: Sequence[Floats], threads: int) -> dict[str, Callable[[], Callable[[Floats], Floats]]]:
    import nncf
    import openvino as ov

    def plain() -> Any:
        return ov.Core().read_model(path)

    def run(model: Any, **settings: str) -> Callable[[Floats], Floats]:
        request = _compiled(model, threads, **settings).create_infer_request()
        return lambda pixels: np.array(request.infer([pixels])[0])

    makers = {"OpenVINO f32": lambda: run(plain(), INFERENCE_PRECISION_HINT="f32")}
    default = ov.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    if default != "f32":
        makers[HALF.format(default)] = lambda: run(plain())
    makers[NNCF_PLAIN] = lambda: run(_quantised(plain(), samples))
    makers[NNCF_TRANSFORMER] = lambda: run(_quantised(plain(), samples, model_type=nncf.ModelType.TRANSFORMER))
    makers[f"NNCF int8 weights, per token, group {GROUP}"] = lambda: run(
        nncf.compress_weights(plain(), mode=nncf.CompressWeightsMode.INT8_ASYM), DYNAMIC_QUANTIZATION_GROUP_SIZE=str(GROUP)
    )
    return makers


def _quantised(model: Any, samples: Sequence[NDArray[Any]], **how: Any) -> Any:
    import nncf

    return nncf.quantize(model, nncf.Dataset(list(samples)), subset_size=len(samples), **how)


def _compiled(model: Any, threads: int, **more: str) -> Any:
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **more}
    return ov.Core().compile_model(model, "CPU", settings)


def _on_hub(hub: Any, calibrate: Sequence[Pixels], threads: int, folder: Path) -> Callable[[Pixels], Features]:
    import nncf
    import openvino as ov

    from edgec.graph.files import save

    path = folder / "hub.onnx"
    save(hub, path)
    frames = [frame[None] for frame in calibrate]
    compiled = _compiled(_quantised(ov.Core().read_model(path), frames, model_type=nncf.ModelType.TRANSFORMER), threads)
    request = compiled.create_infer_request()
    names = [output.get_any_name() for output in compiled.outputs]

    def run(frame: Pixels) -> Features:
        values = request.infer([frame[None]])
        return {name: np.array(values[index], dtype=np.float32) for index, name in enumerate(names)}

    return run
