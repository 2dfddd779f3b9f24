"""What reading a ViT and a ConvNeXt have in common: dimensions from the tensors' shapes, and checks of the whole backbone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgec.checkpoint.layouts.forms import Recognised
from edgec.checkpoint.statements import Statements
from edgec.checkpoint.weights.shelf import Shape, Shelf
from edgec.errors import MismatchedWeights, UnknownForm
from edgec.model.spec import Size, Spec, VitSpec, describe, parameters
from edgec.text import counted, listed, shown

if TYPE_CHECKING:
    from torch import Tensor

_MOST_PARAMETERS = 2_000_000_000
_WIDEST = 1_000_000
_COMPUTING = re.compile(
    r"(patch_embed|embeddings|norm|cls_norm|rope\w*|stem|downsample_layers|stages|adapters?)\."
    r"|(\w*prompts?|\w*prompt_\w+|norm_pre|ln_pre|pre_norm|norm_post|\w*pos_embed\w*|pos_emb|rel_pos\w*|query_tokens?|dist_token|"
    r"\w*register_tokens?|reg_tokens?|storage_tokens|latents?)(\.|$)"
)
"""Names of weights that would take part in a backbone's computation, or add tokens to it; those of heads and of training do not
match."""


def shapes(spec: Spec) -> dict[str, Shape]:
    """Names and shapes of the weights of edgec's unfolded module, in its order."""
    import torch

    from edgec.model.convnext import ConvNext
    from edgec.model.vit import VisionTransformer

    module: torch.nn.Module
    with torch.device("meta"):
        if isinstance(spec, VitSpec):
            periods = torch.ones(spec.head_width // 4, device="cpu")
            module = VisionTransformer(spec, Size(spec.patch, spec.patch), periods)
        else:
            module = ConvNext(spec)
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@dataclass(frozen=True)
class Backbone:
    """Weights under edgec's names, and what was noticed while they were read."""

    spec: Spec
    weights: dict[str, Tensor]
    stored_dtype: str
    assumed: tuple[str, ...]
    """Names of missing tensors for which their neutral value was used."""
    unknown: tuple[str, ...]
    """Tensors that were not needed and that the form does not know, by the form's names."""


def block_counts(names: Iterable[str], template: str) -> list[int]:
    """The number of blocks, or a number a stage if the template has two numbers. Raises `MismatchedWeights` if one is missing."""
    pattern = re.compile(re.escape(template).replace(r"\{\}", r"(\d+)"))
    stages = template.count("{}") == 2
    by_stage: dict[int, set[int]] = {}
    for match in filter(None, map(pattern.match, names)):
        stage, number = (match.group(1), match.group(2)) if stages else ("0", match.group(1))
        by_stage.setdefault(_block_number(stage), set()).add(_block_number(number))
    if not by_stage:
        raise MismatchedWeights("This checkpoint has no blocks.", evidence=f"no tensor is called {template.format('N', 'M')}…")
    counts = []
    for stage in range(max(by_stage) + 1):
        numbers = by_stage.get(stage, set())
        depth = max(numbers, default=0) + 1
        missing = [number for number in range(depth) if number not in numbers]
        if missing:
            where = f" of stage {stage}" if stages else ""
            raise MismatchedWeights(
                f"Block {missing[0]}{where} is missing.",
                evidence=f"{len(missing)} of {counted(depth, 'block')} missing: {listed(map(str, missing))}",
                remedy="the file is incomplete: a shard may be missing, or it holds a part of the model only",
            )
        counts.append(len(numbers))
    return counts


def commonest(values: Iterable[int | None], what: str) -> int:
    """The commonest of these dimensions: one wrong tensor must not make all the others look wrong. Raises `MismatchedWeights` if
    there is none, or if no model is that wide."""
    known = Counter(value for value in values if value is not None)
    if not known or known.most_common(1)[0][0] < 1:
        raise MismatchedWeights(
            f"This checkpoint has no {what}.", evidence="the tensors that it follows from are missing or empty"
        )
    dimension = known.most_common(1)[0][0]
    if dimension > _WIDEST:
        raise MismatchedWeights(f"This checkpoint has a larger {what} than any model.", evidence=f"it claims {dimension:,}")
    return dimension


def finish(spec: Spec, weights: Mapping[str, Tensor], shelf: Shelf, recognised: Recognised) -> Backbone:
    """The backbone, if nothing was wrong with its weights and none of those that were not needed would take part in computing.
    Raises `MismatchedWeights` or `NonFiniteWeights`."""
    template = re.escape(recognised.layout.block).replace(r"\{\}", r"\d+")
    remaining = [name for name in shelf.tensors if not recognised.layout.ignored.fullmatch(name)]
    in_blocks = [name for name in remaining if re.match(template, name)]
    shelf.raise_problems()
    computing = [name for name in remaining if name not in in_blocks and _COMPUTING.match(name)]
    if computing:
        raise MismatchedWeights(
            "This backbone holds weights that a DINOv3 backbone does not have.",
            evidence=listed(shelf.names.get(name, name) for name in computing),
            remedy="leaving them out would change the features; if they are of another part, save the backbone's weights alone",
        )
    if in_blocks:
        raise MismatchedWeights(
            "The blocks of this checkpoint hold weights that a DINOv3 block does not have.",
            evidence=listed(shelf.names.get(name, name) for name in in_blocks),
            remedy="leaving them out would change the features: this is another architecture, or a modified one",
        )
    order = [*shapes(spec), *(["rope_periods"] if "rope_periods" in weights else [])]
    stored_dtypes = [name for name, _ in shelf.taken.most_common()]
    ordered = {name: weights[name] for name in order}
    return Backbone(spec, ordered, " and ".join(stored_dtypes), tuple(shelf.assumed), tuple(remaining))


def check_kind(statements: Statements, family: str, activation: str) -> None:
    """Raises `UnknownForm` if a statement says that this is another model, or has another activation than DINOv3's."""
    for statement in statements.about("family"):
        if statement.value != family:
            raise UnknownForm(
                f"{statement.where} describes a model of another kind.",
                evidence=f"it is a {statement.value}; the names of the weights are those of a {family}",
                remedy="take both from the same checkpoint, or --config none: believe the weights alone",
            )
    for statement in statements.about("activation"):
        if statement.value != activation:
            raise UnknownForm(
                f"{statement.where} asks for an activation that DINOv3 does not have.",
                evidence=f"it is {shown(statement.value)}; needed {activation}",
            )


def check_parameters(spec: Spec) -> None:
    """Raises `UnknownForm` for a teacher, before anything of its size is made."""
    count = parameters(spec)
    if count > _MOST_PARAMETERS:
        raise UnknownForm(
            "This looks like DINOv3's 7B teacher, not like one of the backbones distilled from it.",
            evidence=f"{count / 1e9:.1f} billion parameters: {describe(spec)}",
            remedy="edgec compiles the distilled backbones; the largest has 0.84 billion parameters",
        )


def _block_number(number: str) -> int:
    """As a number, of three digits at most: a name in a file may claim any."""
    if len(number) > 3:
        raise MismatchedWeights("A tensor's name has a larger block number than any model.", evidence=shown(number, 40))
    return int(number)
