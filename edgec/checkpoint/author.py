"""For --against: the author's code, which is the class of transformers or timm that the checkpoint's folder names, if installed.

It is loaded as its users load it, from the folder alone: without network, and without running code in the folder.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgec.checkpoint.location.adjacent import CONFIG
from edgec.checkpoint.location.source import locate
from edgec.checkpoint.statements.config import read_json
from edgec.checkpoint.statements.timm import is_timm
from edgec.checkpoint.statements.transformers import KINDS
from edgec.checkpoint.weights.random import PREFIX
from edgec.errors import CheckpointError, RequestError
from edgec.model.normalisation import Normalisation
from edgec.text import shown

if TYPE_CHECKING:
    from torch import Tensor, nn

Frames = NDArray[np.uint8]
Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Author:
    """`name` is the class and its package's version. `run` takes uint8 frames [N, H, W, 3] and gives `cls` [N, D] and `patches`
    [N, rows, columns, D], float32."""

    name: str
    run: Callable[[Frames], Outputs]


def find_author(reference: str, normalisation: Normalisation) -> Author:
    """The class that the folder of `reference` names, with its weights. Pixels are normalised by the folder's processor if it can
    be loaded, else with `normalisation`.

    Raises `RequestError` if nothing names a class or its package is not installed, `CheckpointError` if the package cannot load
    the folder.
    """
    loader, folder, config = _named(reference)
    return loader(folder, config, normalisation)


def require_author(reference: str) -> None:
    """Raises `RequestError` if nothing names a class, without loading anything."""
    _named(reference)


def _named(reference: str) -> tuple[Callable[[str, dict[str, Any], Normalisation], Author], str, dict[str, Any]]:
    """What loads the class that the folder of `reference` names, that folder, and its configuration."""
    if reference.startswith(PREFIX):
        raise _no_author(reference, "random weights have no author")
    source = locate(reference)
    folder = source.weights[0].parent
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    loader = _timm if is_timm(config) else _transformers if config.get("model_type") in KINDS else None
    if loader is None:
        raise _no_author(reference, f"no {CONFIG} next to it names a class of transformers or timm")
    return loader, str(folder.absolute()), config


def _no_author(reference: str, why: str) -> RequestError:
    return RequestError(
        f"There is nothing to compare {shown(reference)} against.",
        evidence=why,
        remedy=f"leave out --against, or give a folder with transformers' or timm's {CONFIG}",
    )


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise RequestError(
            f"This checkpoint's folder names a class of {name}, which cannot be imported.",
            evidence=shown(f"{type(error).__name__}: {error}"),
            remedy=f"pip install {name}, or leave out --against",
        ) from error


def _transformers(folder: str, config: dict[str, Any], normalisation: Normalisation) -> Author:
    import torch

    transformers = _package("transformers")
    model = _loaded("transformers", folder, lambda: transformers.AutoModel.from_pretrained(folder, **_LOCAL).float().eval())
    registers, stride = getattr(model.config, "num_register_tokens", 0), _stride(model.config)
    pixels = _processor(transformers, folder) or _normalised(normalisation)

    def run(frames: Frames) -> Outputs:
        with torch.inference_mode():
            tokens = model(pixels(frames)).last_hidden_state
        return _outputs(tokens[:, 0], tokens[:, 1 + registers :], frames, stride)

    return Author(f"transformers {importlib.metadata.version('transformers')} {type(model).__name__}", run)


def _timm(folder: str, config: dict[str, Any], normalisation: Normalisation) -> Author:
    import torch

    timm = _package("timm")
    model = _loaded("timm", folder, lambda: timm.create_model(f"local-dir:{folder}", pretrained=True).float().eval())
    pixels = _normalised(_of_timm(model, normalisation))

    def run(frames: Frames) -> Outputs:
        with torch.inference_mode():
            features = model.forward_features(pixels(frames))
            if features.ndim == 4:  # a ConvNeXt, whose head pools and then normalises
                patches = model.head.norm(features).permute(0, 2, 3, 1)
                return {"cls": model.forward_head(features, pre_logits=True).numpy(), "patches": patches.numpy()}
        stride = model.patch_embed.patch_size[0]
        return _outputs(features[:, 0], features[:, model.num_prefix_tokens :], frames, stride)

    return Author(f"timm {importlib.metadata.version('timm')} {config['architecture']}", run)


_LOCAL = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": None}


def _loaded(package: str, folder: str, load: Callable[[], nn.Module]) -> Any:
    try:
        return load()
    except Exception as error:
        raise CheckpointError(
            f"{package} cannot load {shown(folder)}, which names one of its classes.",
            evidence=shown(f"{type(error).__name__}: {error}"),
            remedy="leave out --against to build what edgec read; the folder may be incomplete",
        ) from error


def _processor(transformers: Any, folder: str) -> Callable[[Frames], Tensor] | None:
    """The folder's processor, without resizing: frames have the model's size. None if it cannot be loaded: most need
    torchvision."""
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **_LOCAL)
    except Exception:
        return None

    def pixels(frames: Frames) -> Tensor:
        processed = processor(list(frames), do_resize=False, do_center_crop=False, return_tensors="pt")
        return processed["pixel_values"]  # type: ignore[no-any-return]

    return pixels


def _of_timm(model: Any, normalisation: Normalisation) -> Normalisation:
    """What timm itself normalises with; `normalisation` if the model does not say."""
    config = getattr(model, "pretrained_cfg", {}) or {}
    if "mean" not in config or "std" not in config:
        return normalisation
    return Normalisation(tuple(config["mean"]), tuple(config["std"]), "timm's", "pretrained_cfg")


def _normalised(normalisation: Normalisation) -> Callable[[Frames], Tensor]:
    import torch

    def pixels(frames: Frames) -> Tensor:
        mean, std = (torch.tensor(each)[:, None, None] for each in (normalisation.mean, normalisation.std))
        return (torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 255 - mean) / std

    return pixels


def _stride(config: Any) -> int:
    patch = getattr(config, "patch_size", 32)
    return int(patch if isinstance(patch, int) else patch[0])


def _outputs(cls: Tensor, patches: Tensor, frames: Frames, stride: int) -> Outputs:
    rows, columns = frames.shape[1] // stride, frames.shape[2] // stride
    return {"cls": cls.numpy(), "patches": patches.reshape(len(patches), rows, columns, -1).numpy()}
