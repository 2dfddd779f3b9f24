"""Checkpoints: torch's two formats, safetensors, shards and their index, and the configurations beside them; `edgec inspect`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.fuzz.kinds import Try, command
from benchmarks.fuzz.mutations import bytes_changed, hostile, json_text, value_changed
from benchmarks.fuzz.pickles import in_a_zip, in_legacy_form, pickle_of, with_pickle_changed
from benchmarks.fuzz.tensors import small, spoilt

if TYPE_CHECKING:
    from torch import Tensor

_FOLDERS = ("huggingface", "sharded")
_STATES = ("meta.pth", "training.pth", "legacy.pth", "wrapped.bin")


def prepare(corpus: Path) -> None:
    """A ViT of two blocks and 64 channels, as everybody would store it."""
    import torch
    from safetensors.torch import load_file, save_file

    from tests.support.files import save_checkpoint

    plain = save_checkpoint(corpus / "huggingface")
    state = load_file(plain / "model.safetensors")
    sharded = corpus / "sharded"
    sharded.mkdir()
    names = sorted(state)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: state[name] for name in held}, sharded / shard, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(plain / name, sharded / name)
    torch.save(state, corpus / "meta.pth")
    student = {f"backbone.{name}": tensor for name, tensor in state.items()}
    torch.save({"teacher": student, "optimizer": {"step": 3, "lr": [0.1]}, "iteration": 7}, corpus / "training.pth")
    torch.save(state, corpus / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": {f"module.model.{name}": tensor for name, tensor in state.items()}}, corpus / "wrapped.bin")


def draw(random: Random, corpus: Path, place: Path) -> Try:
    """One checkpoint, as a file or a folder, for `edgec inspect`."""
    make = random.choice(_MAKERS)
    what, path = make(random, corpus, place)
    json_too = ("--json",) * (random.random() < 0.5)
    return Try(f"{make.__name__[1:]}: {what}", command("inspect", path, *json_too), lambda: _wrong(path))


def _container(random: Random, corpus: Path, place: Path) -> tuple[str, Path]:
    """Bytes of a torch file or of safetensors."""
    source = random.choice([*(corpus / name for name in _STATES), corpus / "huggingface" / "model.safetensors"])
    path = place / random.choice((source.name, source.name, "weights.pt", "model.safetensors", "weights.bin"))
    data = source.read_bytes()
    if source.suffix != ".safetensors" and source.name != "legacy.pth" and random.random() < 0.5:
        path.write_bytes(with_pickle_changed(data, lambda content: bytes_changed(random, content)))
    elif source.suffix == ".safetensors" and random.random() < 0.5:
        # The header is a fiftieth of the file, and the part that is parsed.
        end = 8 + int.from_bytes(data[:8], "little")
        path.write_bytes(bytes_changed(random, data[:end]) + data[end:])
    else:
        path.write_bytes(bytes_changed(random, data, [b"PK\x05\x06", b"\x80\x02}", b'{"a":']))
    return source.name, path


def _header(random: Random, corpus: Path, place: Path) -> tuple[str, Path]:
    """The header of safetensors as a document."""
    data = (corpus / "huggingface" / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    text = json_text(random, value_changed(random, json.loads(data[8:end])))
    length = len(text) if random.random() < 0.9 else random.choice((0, 2**63, 2**64 - 1, len(text) + 10**6, 100_000_001))
    path = place / random.choice(("model.safetensors", "weights.pth"))
    path.write_bytes(length.to_bytes(8, "little") + text + data[end:])
    return "safetensors", path


def _pickled(random: Random, corpus: Path, place: Path) -> tuple[str, Path]:
    """A pickle that no torch.save wrote."""
    pickled = pickle_of(random)
    form = random.choice((in_a_zip, in_legacy_form, bytes))
    path = place / random.choice(("weights.pth", "weights.pt", "pytorch_model.bin", "model.safetensors"))
    path.write_bytes(form(pickled))
    return f"{form.__name__}, {pickled[:16]!r}", path


def _folder(random: Random, corpus: Path, place: Path) -> tuple[str, Path]:
    """A folder whose JSON files say other things."""
    source = corpus / random.choice(_FOLDERS)
    path = Path(shutil.copytree(source, place / "model"))
    documents = sorted(path.glob("*.json"))
    for document in random.sample(documents, random.choice((1, 1, len(documents)))):
        if random.random() < 0.05:
            document.unlink()
            document.symlink_to(random.choice(("/dev/zero", "/dev/null", "missing", "/etc", document.name)))
        else:
            document.write_bytes(json_text(random, value_changed(random, json.loads(document.read_bytes()))))
    if random.random() < 0.3:
        name = random.choice(("config.json", "preprocessor_config.json", "adapter_config.json", "LICENSE"))
        (path / name).unlink(missing_ok=True)  # it may be a link by now: nothing is written through that
        (path / name).write_bytes(json_text(random, {name: hostile(random) for name in _KEYS if random.random() < 0.4}))
    named = random.random() < 0.2
    return source.name, next(path.glob("*.safetensors")) if named else path


def _tensors(random: Random, corpus: Path, place: Path) -> tuple[str, Path]:
    """Tensors of other shapes, types, strides and names, stored as torch would."""
    import torch
    from safetensors.torch import load_file, save_file

    state: dict[str, Any] = dict(load_file(corpus / "huggingface" / "model.safetensors"))
    done = spoilt(random, state)
    path = place / random.choice(("weights.pth", "weights.safetensors"))
    if path.suffix == ".safetensors" and all(map(small, state.values())):
        try:
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
            return done, path
        except Exception:  # it stores fewer kinds of tensors than torch does
            pass
    path = place / "weights.pth"
    wrapped: Callable[[Any], Any] = random.choice((lambda held: held, lambda held: {"model": held, "step": 1}))
    torch.save(wrapped(state), path, _use_new_zipfile_serialization=random.random() < 0.7)
    return done, path


_KEYS = (
    "model_type", "architectures", "hidden_size", "num_attention_heads", "num_hidden_layers", "layer_norm_eps", "rope_theta",
    "image_mean", "image_std", "rescale_factor", "quantization_config", "backbone_config", "architecture", "pretrained_cfg",
    "model_args", "peft_type", "patch_size", "num_register_tokens", "mean", "std", "license",
)  # fmt: skip
_MAKERS = (_container, _container, _header, _pickled, _folder, _folder, _tensors)


def _wrong(path: Path) -> str:
    """What was accepted has finite weights of the shapes that its model needs, and those are the file's."""
    import torch

    from edgec.checkpoint import read
    from edgec.checkpoint.weights.backbone import shapes

    checkpoint = read(str(path))
    for name, shape in shapes(checkpoint.spec).items():
        weight = checkpoint.weights[name]
        if tuple(weight.shape) != shape or weight.dtype != torch.float32 or not bool(torch.isfinite(weight).all()):
            return f"{name} is {weight.dtype} {tuple(weight.shape)} or not finite; needed {shape}"
    stored = _stored(path)
    if stored is None:
        return ""
    for name, weight in checkpoint.weights.items():
        if name != "rope_periods" and not all(_is_stored(part, stored) for part in _parts(name, weight)):
            return f"{name} is no tensor of the file"
    return ""


def _stored(path: Path) -> list[Tensor] | None:
    """By the library itself, flat and in float32; None for torch's formats, of which edgec's reader and torch's are one."""
    from safetensors.torch import load_file

    try:
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        return [tensor.flatten().float() for file in files for tensor in load_file(file).values()]
    except Exception:
        return None


def _parts(name: str, weight: Tensor) -> list[Tensor]:
    parts = weight.chunk(3) if "qkv" in name else (weight,)
    return [part.flatten() for part in parts]


def _is_stored(part: Tensor, stored: list[Tensor]) -> bool:
    import torch

    neutral = part.numel() == 0 or bool((part == part[0]).all())
    return neutral or any(len(each) == len(part) and torch.equal(each, part) for each in stored)
