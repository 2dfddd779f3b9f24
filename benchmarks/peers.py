"""The contenders: edgec's own artefact and candidates, and what its users would otherwise deploy."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.reading import open_artefact
from edgec.build import build
from edgec.checkpoint import read
from edgec.fidelity.metrics import Features
from edgec.frames import Pixels
from edgec.lowering import registry
from edgec.model.spec import Size, grid
from edgec.request import BuildRequest


@dataclass(frozen=True)
class Contender:
    """`run` takes one camera frame, uint8 [H, W, 3], and returns `cls` and `patches`."""

    name: str
    run: Callable[[Pixels], Features]
    shipped: bool = False


def edgec_contenders(checkpoint: str, calibration: str, size: Size, threads: int, folder: Path) -> list[Contender]:
    """What `--precision auto` ships, run as a robot would run it."""
    request = BuildRequest(checkpoint, calibration=calibration, size=size, threads=threads, output=folder / "auto.edgec")
    result = build(request)
    artefact = open_artefact(result.directory)
    runner = registry.get(artefact.manifest.runtime).load(artefact.lowered, threads=threads)
    return [Contender(f"edgec: {result.report.chosen}", lambda frame: runner(frame[None]), shipped=True)]


def peer_contenders(checkpoint: str, calibrate: Sequence[Pixels], size: Size, threads: int, folder: Path) -> list[Contender]:
    """The last one is torch in float32: what all are compared with."""
    source = Path(__file__).parent.parent / "edgec" / "checkpoint" / "demo" if checkpoint == "demo" else Path(checkpoint)
    said = read(checkpoint)
    prefix, shape = 1 + said.spec.registers, (1, *grid(said.spec, size), said.spec.features)
    mean, std = (np.array(value, dtype=np.float32) for value in (said.normalisation.mean, said.normalisation.std))

    def normalised(frame: Pixels) -> NDArray[np.float32]:
        """As a robot's program would prepare it: float32 [1, 3, H, W]."""
        pixels = (frame.astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)

    def named(tokens: NDArray[np.float32]) -> Features:
        return {"cls": tokens[:, 0], "patches": tokens[:, prefix:].reshape(shape)}

    model = _transformers_model(source)
    path = _exported(model, size, folder)
    samples = [normalised(frame) for frame in calibrate]
    onnx_models = {
        "ONNX Runtime float32": path,
        "ONNX Runtime quantize_static U8S8": _ort_static(path, samples, folder, symmetric=False),
        "ONNX Runtime quantize_static S8S8": _ort_static(path, samples, folder, symmetric=True),
        "ONNX Runtime quantize_dynamic": _ort_dynamic(path, folder),
    }
    contenders = []
    for name, file in onnx_models.items():
        session = _ort_session(file, threads)
        contenders.append(_contender(name, _session_run(session), normalised, named))
    for name, compiled in _openvino_models(path, samples, threads).items():
        contenders.append(_contender(name, _request_run(compiled.create_infer_request()), normalised, named))
    return [*contenders, _contender("torch eager float32", _torch_run(model, threads), normalised, named)]


def _contender(
    name: str,
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    prepare: Callable[[Pixels], NDArray[np.float32]],
    named: Callable[[NDArray[np.float32]], Features],
) -> Contender:
    return Contender(name, lambda frame: named(run(prepare(frame))))


def _session_run(session: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    return lambda pixels: np.asarray(session.run(None, {"pixel_values": pixels})[0])


def _request_run(request: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    return lambda pixels: np.array(request.infer([pixels])[0])


def _transformers_model(source: Path) -> Any:
    import torch
    from transformers import AutoModel

    return AutoModel.from_pretrained(source, dtype=torch.float32).eval()


def _torch_run(model: Any, threads: int) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    import torch

    torch.set_num_threads(threads)

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
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
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Tokens(), example, dynamo=True, opset_version=18, external_data=False, input_names=["pixel_values"], verbose=False
        )
    assert program is not None
    program.save(path)
    return path


def _ort_session(path: Path, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Idle threads of one contender must not spin while another runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _ort_static(path: Path, samples: Sequence[NDArray[np.float32]], folder: Path, *, symmetric: bool) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            found = next(self.left, None)
            return None if found is None else {"pixel_values": found}

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


def _openvino_models(path: Path, samples: Sequence[NDArray[np.float32]], threads: int) -> dict[str, Any]:
    import nncf
    import openvino as ov

    nncf.set_log_level(logging.ERROR)
    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}

    def compiled(model: Any, **more: str) -> Any:
        return core.compile_model(model, "CPU", {**settings, **more})

    def quantised(**how: Any) -> Any:
        return nncf.quantize(core.read_model(path), nncf.Dataset(list(samples)), subset_size=len(samples), **how)

    return {
        "OpenVINO float32": compiled(core.read_model(path), INFERENCE_PRECISION_HINT="f32"),
        "OpenVINO default precision": compiled(core.read_model(path)),
        "NNCF quantize, default": compiled(quantised()),
        "NNCF quantize, TRANSFORMER": compiled(quantised(model_type=nncf.ModelType.TRANSFORMER)),
    }
