"""Models that are not ours, with every parameter drawn at random, and a way to run what we read from them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgec.checkpoint import Checkpoint
from edgec.model.convnext import ConvNext
from edgec.model.spec import ConvNextSpec, Size, Spec, VitSpec
from edgec.model.vit import VisionTransformer

SIZES = (Size(224, 224), Size(96, 160))
# True widths, heads and MLPs; the depth of the larger ones is cut, since one block shows what twenty do.
TRUE_WIDTHS: dict[str, Spec] = {
    "vitt16": VitSpec(192, 12, 3, 768),
    "vits16": VitSpec(384, 12, 6, 1536),
    "vits16plus": VitSpec(384, 3, 6, 1536, mlp="swiglu"),
    "vitb16": VitSpec(768, 2, 12, 3072),
    "vitl16": VitSpec(1024, 2, 16, 4096),
    "vith16plus": VitSpec(1280, 1, 20, 5120, mlp="swiglu"),
    "convnext_tiny": ConvNextSpec((3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small": ConvNextSpec((1, 1, 2, 1), (96, 192, 384, 768)),
    "convnext_base": ConvNextSpec((1, 1, 2, 1), (128, 256, 512, 1024)),
    "convnext_large": ConvNextSpec((1, 1, 1, 1), (192, 384, 768, 1536)),
}


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draws every parameter anew, biases, norms and layer scales too, so that no mistake hides behind a zero or a one.

    Matrices are such that attention's scores spread by about two: with less, Q and K and their rotation hardly matter.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.normal_(0, 0.15, generator=generator)
            if parameter.ndim in (2, 4):
                parameter.mul_(10 * parameter[0].numel() ** -0.5)
            elif "gamma" in name or "lambda" in name:
                parameter.add_(0.5)
            elif parameter.ndim == 1 and name.endswith("weight"):
                parameter.add_(1)
    return module.eval()


def huggingface_model(spec: Spec, *, random: bool = True, **options: Any) -> nn.Module:
    from transformers import DINOv3ConvNextConfig, DINOv3ConvNextModel, DINOv3ViTConfig, DINOv3ViTModel

    if isinstance(spec, ConvNextSpec):
        convnext = DINOv3ConvNextModel(DINOv3ConvNextConfig(depths=list(spec.depths), hidden_sizes=list(spec.widths)))
        return randomise(convnext) if random else convnext
    gated = spec.mlp == "swiglu"
    config = DINOv3ViTConfig(
        hidden_size=spec.width,
        num_hidden_layers=spec.depth,
        num_attention_heads=spec.heads,
        intermediate_size=spec.mlp_width,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
        num_register_tokens=spec.registers,
        **options,
    )
    return randomise(DINOv3ViTModel(config)) if random else DINOv3ViTModel(config)


def huggingface_features(model: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    """CLS, registers and the grid of patches from `transformers`' flat sequence."""
    size, registers = Size(*pixels.shape[-2:]), getattr(model.config, "num_register_tokens", 0)
    stride = getattr(model.config, "patch_size", 32)
    with torch.no_grad():
        sequence = model(pixels).last_hidden_state
    patches = sequence[:, 1 + registers :].reshape(len(pixels), size.height // stride, size.width // stride, -1)
    return {"cls": sequence[:, 0], "registers": sequence[:, 1 : 1 + registers], "patches": patches}


def our_features(checkpoint: Checkpoint, pixels: Tensor) -> dict[str, Tensor]:
    spec, weights = checkpoint.spec, dict(checkpoint.weights)
    module: nn.Module
    if isinstance(spec, VitSpec):
        module = VisionTransformer(spec, Size(*pixels.shape[-2:]), weights.pop("rope_periods"))
    else:
        module = ConvNext(spec)
    module.load_state_dict(weights)
    with torch.no_grad():
        return dict(module.eval()(pixels, registers=True))


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], tolerance: float = 1e-4) -> None:
    """Absolute agreement; and the features must be such that agreement means something."""
    for name, expected in theirs.items():
        if expected.numel():
            assert ours[name].shape == expected.shape
            assert expected.std() > 0.3
            assert (ours[name] - expected).abs().max() < tolerance, name
    patches = nn.functional.normalize(theirs["patches"].flatten(1, 2)[0], dim=-1)
    assert (patches @ patches.T).mean() < 0.98


def pixels(size: Size, seed: int = 0) -> Tensor:
    return torch.randn(1, 3, size.height, size.width, generator=torch.Generator().manual_seed(seed))


_META = (
    ("attention.o_proj", "attn.proj"),
    ("layer_scale", "ls"),
    ("lambda1", "gamma"),
    ("depthwise_conv", "dwconv"),
    ("pointwise_conv", "pwconv"),
    ("embeddings.patch_embeddings", "patch_embed.proj"),
    ("embeddings.register_tokens", "storage_tokens"),
    ("embeddings.", ""),
)


def meta_names(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A Hugging Face backbone's weights under the names, and in the shapes, that Meta's code gives them.

    K's bias is noise that bias_mask must silence.
    """
    plain = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    gated = any("gate_proj" in name for name in plain)
    mlp = (("gate_proj", "w1"), ("up_proj", "w2"), ("down_proj", "w3")) if gated else (("up_proj", "fc1"), ("down_proj", "fc2"))
    renamed: dict[str, Tensor] = {}
    for name, tensor in plain.items():
        new = re.sub(r"^layer\.", "blocks.", name)
        new = re.sub(r"^stages\.(\d)\.downsample_layers\.", r"downsample_layers.\1.", new)
        new = re.sub(r"^stages\.(\d)\.layers\.", r"stages.\1.", new)
        for theirs, metas in (*_META, *mlp, ("layer_norm", "norm")):
            new = new.replace(theirs, metas)
        renamed[new] = tensor
    for block in {name.split(".")[1] for name in renamed if name.startswith("blocks.")}:
        start = f"blocks.{block}.attention"
        q, k, v = (renamed.pop(f"{start}.{part}_proj.weight") for part in "qkv")
        biases = [renamed.pop(f"{start}.q_proj.bias"), torch.full_like(q[0], 0.7), renamed.pop(f"{start}.v_proj.bias")]
        attention = f"blocks.{block}.attn.qkv"
        renamed[f"{attention}.weight"], renamed[f"{attention}.bias"] = torch.cat([q, k, v]), torch.cat(biases)
        renamed[f"{attention}.bias_mask"] = torch.cat([torch.ones_like(q[0]), torch.zeros_like(q[0]), torch.ones_like(q[0])])
    if "mask_token" in renamed:
        renamed["mask_token"] = renamed["mask_token"][0]
    else:
        renamed |= {f"norms.3.{kind}": renamed[f"norm.{kind}"] for kind in ("weight", "bias")}
    return renamed


def meta_state(model: nn.Module, periods_dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The state_dict that Meta's code would have of a Hugging Face model."""
    state = meta_names(model.state_dict())
    if hasattr(model, "rope_embeddings"):
        state["rope_embed.periods"] = (1 / model.rope_embeddings.inv_freq).to(periods_dtype)
    return state


class _Anything(type):
    """The type of a stand-in for any class or constant; its attributes are such stand-ins again."""

    def __getattr__(cls, name: str) -> _Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Torchvision(MetaPathFinder, Loader):
    """timm imports torchvision for transforms and a frozen batch norm, which none of the models under test has. A build of it
    goes with one build of torch only, so that it often cannot be had; this stands in for it while timm is imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        vars(module)["__getattr__"] = partial(getattr, _Anything(spec.name, (), {}))
        return module

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for one another by spinning take ten times as long as one on a machine that others use too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def timm() -> ModuleType:
    if "torchvision" in sys.modules:
        return pytest.importorskip("timm")
    finder = _Torchvision()
    sys.meta_path.insert(0, finder)
    try:
        return pytest.importorskip("timm")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The helpers of this file: in import mode `importlib` tests cannot import them from one another."""
    return SimpleNamespace(
        SIZES=SIZES,
        TRUE_WIDTHS=TRUE_WIDTHS,
        assert_same=assert_same,
        huggingface_features=huggingface_features,
        huggingface_model=huggingface_model,
        meta_names=meta_names,
        meta_state=meta_state,
        our_features=our_features,
        pixels=pixels,
        randomise=randomise,
    )
