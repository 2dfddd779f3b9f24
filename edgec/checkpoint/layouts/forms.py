"""Which form a checkpoint is in. The names of the weights decide; file names do not matter.

Weights may have any prefix (`teacher.backbone.`, `model.`, …): it is what stands before a name that every model of a form has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edgec.checkpoint.layouts.tables import (
    HUGGINGFACE_CONVNEXT,
    HUGGINGFACE_VIT,
    META_CONVNEXT,
    META_VIT,
    TIMM_CONVNEXT,
    TIMM_VIT,
    Layout,
)
from edgec.errors import UnknownForm
from edgec.text import listed

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Components that training wrappers insert anywhere into names."""
_ANCHORS = {
    "embeddings.patch_embeddings.weight": (HUGGINGFACE_VIT,),
    "patch_embed.proj.weight": (META_VIT, TIMM_VIT),
    "model.stages.0.downsample_layers.0.weight": (HUGGINGFACE_CONVNEXT,),
    "stages.0.downsample_layers.0.weight": (HUGGINGFACE_CONVNEXT,),
    "downsample_layers.0.0.weight": (META_CONVNEXT,),
    "stem.0.weight": (TIMM_CONVNEXT,),
}
_MARKS = {
    "meta": re.compile(
        r"storage_tokens|rope_embed\.periods|blocks\.\d+\.(ls[12]\.gamma|attn\.qkv\.bias_mask|mlp\.w[123]\.weight)"
    ),
    "timm": re.compile(r"reg_token|blocks\.\d+\.(gamma_[12]|attn\.[qv]_bias|mlp\.fc1_[gx]\.weight)"),
}
"""Names by which Meta's ViT and timm's differ; both have the same anchor."""
_MOST_PREFIXES = 64
"""More than any training checkpoint has."""
_SIMILAR_MODELS = (
    (r"(^|\.)lora_[AB]\b|\.lora_", "adapters (LoRA); merge them into the model and save that"),
    (r"(^|\.)(qweight|qzeros|weight_scale|weight_zero_point|weight_packed)$", "quantised weights; give the float checkpoint"),
    (r"position_embeddings|(^|\.)pos_embed$", "DINOv2, DINO or another ViT with learned position embeddings"),
    (r"rope\.freqs", "a ViT with learned rotary frequencies"),
)
_OTHER_MODELS = (
    *_SIMILAR_MODELS,
    (r"(^|\.)embeds\.(proj|pos_embed|cls_token|reg_token)", "timm's NaFlexViT, whose patches vary in number"),
    (r"(^|\.)(query|class_predictor|mask_head|upscale_block)\.", "EoMT or another model with queries"),
    (
        r"_(data|scale|zero_point|qdata)$|:(_data|scale|qdata|zero_point|layout_tensor)",
        "weights quantised by torchao or another tool",
    ),
    (r"(^|\.)(self_attn|self_attention)\.", "a text or multi-modal transformer"),
    (r"(^|\.)layer[1-4]\.\d+\.conv1\.weight$", "a ResNet"),
    (r"(^|\.)features\.\d+\.\d+\.", "a torchvision model"),
    (r"(^|\.)(decode_head|segmentation_head|depth_head|bbox_embed|class_embed)\.", "a task head without its backbone"),
    (r"(^|\.)(dino_head|ibot_head)\.", "training heads without a backbone"),
)


@dataclass(frozen=True)
class Recognised:
    """One backbone in a file. `names` goes from the form's name, without prefix and wrappers, to the name in the file. `outside`
    are the file's names that do not belong to this backbone."""

    layout: Layout
    prefix: str
    names: Mapping[str, str]
    outside: tuple[str, ...]

    @property
    def components(self) -> tuple[str, ...]:
        """The parts of the prefix: `("teacher", "backbone")`."""
        return tuple(part for part in self.prefix.split(".") if part)


def recognise(stored: Collection[str]) -> tuple[Recognised, ...]:
    """Every DINOv3 backbone among the names in a file, the shortest prefix first.

    Raises `UnknownForm`, saying what the file looks like instead, if there is none.
    """
    unwrapped = {_WRAPPERS.sub("", name): name for name in stored}
    if len(unwrapped) < len(stored):
        raise _same_but_for_wrappers(stored)
    anchored = [
        (name.removesuffix(anchor), layouts)
        for anchor, layouts in _ANCHORS.items()
        for name in unwrapped
        if name == anchor or name.endswith(f".{anchor}")
    ]
    layouts_by_prefix: dict[str, Layout] = {}
    for prefix, layouts in anchored[:_MOST_PREFIXES]:
        layout = _choose(layouts, {name.removeprefix(prefix) for name in unwrapped if name.startswith(prefix)})
        if layout is not None:
            layouts_by_prefix.setdefault(prefix, layout)
    if not layouts_by_prefix:
        raise _unknown(stored)
    backbones, refusals = [], []
    for prefix in sorted(layouts_by_prefix, key=lambda each: (len(each), each)):
        backbone = _backbone(prefix, layouts_by_prefix, unwrapped)
        try:
            _refuse_similar(backbone.layout, backbone.names)
            backbones.append(backbone)
        except UnknownForm as error:
            refusals.append(error)
    if not backbones:
        raise refusals[0]
    return tuple(backbones)


def _backbone(prefix: str, layouts: Mapping[str, Layout], unwrapped: Mapping[str, str]) -> Recognised:
    """The names under the prefix, without those of another backbone with a longer prefix."""
    longer = tuple(other for other in layouts if other != prefix and other.startswith(prefix))
    inside = {name for name in unwrapped if name.startswith(prefix) and not name.startswith(longer)}
    layout = layouts[prefix]
    names = {_inner(layout, name.removeprefix(prefix)): full for name, full in unwrapped.items() if name in inside}
    return Recognised(layout, prefix, names, tuple(full for name, full in unwrapped.items() if name not in inside))


def _same_but_for_wrappers(stored: Collection[str]) -> UnknownForm:
    twice = [name for name in stored if _WRAPPERS.search(name) and _WRAPPERS.sub("", name) in stored]
    return UnknownForm(
        "This file holds weights twice, with and without a training wrapper in their names.",
        evidence=listed(twice or stored),
        remedy="nothing says which of the two to use: save model.state_dict() of the one that you mean",
    )


def _choose(layouts: tuple[Layout, ...], inside: Collection[str]) -> Layout | None:
    """The layout of these names, among those that share an anchor. A ConvNeXt must have its last norm under the same prefix."""
    for layout in layouts:
        if layout.family == "convnext":
            return layout if layout.stored("norm.weight") in inside else None
        if len(layouts) == 1 or any(_MARKS[layout.form].fullmatch(name) for name in inside):
            return layout
    return None


def _inner(layout: Layout, name: str) -> str:
    """Some writers of Hugging Face's form put `model.` before the names of blocks alone."""
    return re.sub(r"^model\.(?=layer\.|stages\.)", "", name) if layout.form == "huggingface" else name


def _refuse_similar(layout: Layout, names: Collection[str]) -> None:
    """Raises `UnknownForm` for models that share DINOv3's names and compute something else."""
    if layout.family != "vit":
        return
    for pattern, what in _SIMILAR_MODELS:
        matching = [name for name in names if re.search(pattern, name)]
        if matching:
            raise UnknownForm(f"This looks like {what}, not like a DINOv3 backbone.", evidence=f"it has {listed(matching)}")
    _refuse_without_final_norm(layout, names)
    if "norm.weight" in names and "norm.bias" not in names:
        raise UnknownForm(
            "This looks like a transformer with RMSNorm, not like a distilled DINOv3 backbone.",
            evidence="norm.weight has no norm.bias beside it",
        )


def _refuse_without_final_norm(layout: Layout, names: Collection[str]) -> None:
    if layout.stored("norm.weight") in names or layout.stored("norm.bias") in names:
        return
    pooled = "fc_norm.weight" in names
    raise UnknownForm(
        "This backbone has no final norm, so that its features are not those of a DINOv3 backbone.",
        evidence=(
            f"there is no {layout.stored('norm.weight')}"
            + (", but an fc_norm: timm's model normalises after pooling, and its patches not at all" if pooled else ""),
            f"{len(names)} tensors: {listed(sorted(names))}",
        ),
        remedy="save the whole backbone: timm's with use_fc_norm=False and without features_only, Hugging Face's Model class",
    )


def _unknown(stored: Collection[str]) -> UnknownForm:
    looks = next((what for pattern, what in _OTHER_MODELS if any(re.search(pattern, name) for name in stored)), None)
    return UnknownForm(
        f"This looks like {looks}, not like a DINOv3 backbone." if looks else "These are not the weights of a DINOv3 backbone.",
        evidence=(
            f"{len(stored)} tensors: {listed(sorted(stored))}",
            "expected Meta's names (blocks.0.attn.qkv, storage_tokens), Hugging Face's (layer.0.attention.q_proj) "
            "or timm's (blocks.0.gamma_1, reg_token), under any prefix; or the ConvNeXt's of one of them",
        ),
        remedy="give the backbone's own checkpoint: a .pth from Meta's code, a Hugging Face directory, or timm's weights",
    )
