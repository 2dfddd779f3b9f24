"""From a form's named tensors to edgec's weights and the dimensions that they imply.

Every tensor is checked against the shape that the whole model needs before it is accepted; all that is wrong is told at once.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgec.checkpoint.forms import Recognised
from edgec.checkpoint.stated import Statements
from edgec.checkpoint.taking import Taking
from edgec.checkpoint.text import counted, cut, dimensions, listed, shown
from edgec.errors import MismatchedWeights, NonFiniteWeights, UnknownForm
from edgec.model.spec import Size, Spec, VitSpec, describe, parameters
from edgec.untrusted import Refused

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
_LARGEST = 2_000_000_000
_WIDEST = 1_000_000
_MOST_ZEROS = 100_000_000
_ON_THE_WAY = re.compile(
    r"(patch_embed|embeddings|norm|cls_norm|rope\w*|stem|downsample_layers|stages|adapters?)\."
    r"|(\w*prompts?|\w*prompt_\w+|norm_pre|ln_pre|pre_norm|norm_post|\w*pos_embed\w*|pos_emb|rel_pos\w*|query_tokens?|dist_token|"
    r"\w*register_tokens?|reg_tokens?|storage_tokens|latents?)(\.|$)"
)
"""Names that stand in a backbone's own computation, or add tokens to it; heads and training's leftovers have others."""


def shapes(spec: Spec) -> dict[str, Shape]:
    """Names and shapes of the unfolded module's weights, in its order."""
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


@dataclass
class Shelf:
    """The stored tensors of one backbone, taken one by one under the form's names; whatever is left was not expected.

    Complaints are gathered, and raised together by `settle`.
    """

    tensors: dict[str, Tensor]
    names: Mapping[str, str]
    """From the form's names to those in the file, for messages."""
    taken: Counter[str] = field(default_factory=Counter)
    """Stored types, by how many values were taken in each."""
    assumed: list[str] = field(default_factory=list)
    """Names that are not there and were given their neutral value."""
    problems: list[str] = field(default_factory=list)
    nonfinite: list[str] = field(default_factory=list)
    taking: Taking = field(default_factory=Taking)
    zeros: int = 0
    """Values that were made up in place of what is not there."""

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def shape(self, name: str) -> Shape | None:
        return tuple(self.tensors[name].shape) if name in self.tensors else None

    def take(self, name: str, shape: Shape, default: float | None = None) -> Tensor:
        """The tensor in float32 and in memory of its own, or zeros after a complaint. A missing one is a complaint unless it
        has a neutral value."""
        import torch

        tensor = self.tensors.pop(name, None)
        if tensor is None and default is not None:
            if 0 not in shape:
                self.assumed.append(name)
            return torch.full(shape, default)
        if tensor is None:
            return self._missing(f"{shown(self._file_name(name))} is missing; needed {dimensions(shape)}", shape)
        complaint = _unusable(tensor, shape)
        values = None if complaint else self._values(name, tensor)
        if complaint:
            self.problems.append(f"{shown(self._file_name(name))} is {complaint}")
        if values is None:
            return self._missing("", shape)
        self.taken[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
        finite = torch.isfinite(values)
        if not bool(finite.all()):
            self._note_nonfinite(name, values, finite)
        return values

    def take_small(self, name: str) -> Tensor | None:
        """A tensor whose shape is not known beforehand, of any type of number, float32; None if it is not there."""
        tensor = self.tensors.pop(name, None)
        return None if tensor is None else self._values(name, tensor)

    def _values(self, name: str, tensor: Tensor) -> Tensor | None:
        """None after a complaint."""
        try:
            return self.taking.float32(tensor)
        except Refused as error:
            self.problems.append(f"{shown(self._file_name(name))} is {shown(error)}")
            return None

    def _missing(self, complaint: str, shape: Shape) -> Tensor:
        """Zeros, so that the other tensors are looked at too: as long as they are not more than a file may ask for."""
        import torch

        if complaint:
            self.problems.append(complaint)
        self.zeros += math.prod(shape)
        if self.zeros > _MOST_ZEROS:
            self.settle()
        return torch.zeros(shape)

    def settle(self) -> None:
        """Raises `MismatchedWeights` or `NonFiniteWeights` if anything was wrong."""
        if self.problems:
            raise MismatchedWeights(
                f"{counted(len(self.problems), 'tensor')} of this checkpoint cannot be used.",
                evidence=cut(self.problems),
                remedy="compare it with the configuration that it was trained with, or get the file again",
            )
        if self.nonfinite:
            raise NonFiniteWeights(
                f"{counted(len(self.nonfinite), 'tensor')} of this checkpoint holds NaN or infinity.",
                evidence=cut(self.nonfinite),
                remedy="training diverged or the file is damaged: use an earlier checkpoint",
            )

    def _file_name(self, name: str) -> str:
        return self.names.get(name, name)

    def _note_nonfinite(self, name: str, values: Tensor, finite: Tensor) -> None:
        nan, total = int(values.isnan().sum()), values.numel()
        first = (~finite).nonzero()[0].tolist()
        infinite = total - int(finite.sum()) - nan
        found = " and ".join(f"{count:,} {what}" for count, what in ((nan, "NaN"), (infinite, "Inf")) if count)
        self.nonfinite.append(f"{shown(self._file_name(name))}: {found} of {total:,}, the first at {first}")


@dataclass(frozen=True)
class Backbone:
    """Weights under edgec's names, and what was learned on the way."""

    spec: Spec
    weights: dict[str, Tensor]
    stored_dtype: str
    assumed: tuple[str, ...]
    left: tuple[str, ...]
    """The form's names of what was not needed and is not known to the form."""


def blocks(names: Iterable[str], template: str) -> list[int]:
    """How many blocks there are, per stage if the template has two numbers. Raises `MismatchedWeights` if one is missing."""
    pattern = re.compile(re.escape(template).replace(r"\{\}", r"(\d+)"))
    stages = template.count("{}") == 2
    seen: dict[int, set[int]] = {}
    for match in filter(None, map(pattern.match, names)):
        stage, number = (match.group(1), match.group(2)) if stages else ("0", match.group(1))
        seen.setdefault(_small(stage), set()).add(_small(number))
    if not seen:
        raise MismatchedWeights("This checkpoint has no blocks.", evidence=f"no tensor is called {template.format('N', 'M')}…")
    counts = []
    for stage in range(max(seen) + 1):
        numbers = seen.get(stage, set())
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


def usual(values: Iterable[int | None], what: str) -> int:
    """The commonest of these dimensions: one wrong tensor must not make all the others look wrong."""
    known = Counter(value for value in values if value is not None)
    if not known or known.most_common(1)[0][0] < 1:
        raise MismatchedWeights(
            f"This checkpoint has no {what}.", evidence="the tensors that it follows from are missing or empty"
        )
    commonest = known.most_common(1)[0][0]
    if commonest > _WIDEST:
        raise MismatchedWeights(f"This checkpoint has a {what} past every model.", evidence=f"it claims {commonest:,}")
    return commonest


def finish(spec: Spec, weights: Mapping[str, Tensor], shelf: Shelf, found: Recognised) -> Backbone:
    """Checks what was gathered, and sorts what is left. Raises `MismatchedWeights` or `NonFiniteWeights`."""
    template = re.escape(found.layout.block).replace(r"\{\}", r"\d+")
    left = [name for name in shelf.tensors if not found.layout.ignored.fullmatch(name)]
    inside = [name for name in left if re.match(template, name)]
    shelf.settle()
    on_the_way = [name for name in left if name not in inside and _ON_THE_WAY.match(name)]
    if on_the_way:
        raise MismatchedWeights(
            "This backbone holds weights that a DINOv3 backbone does not have.",
            evidence=listed(shelf.names.get(name, name) for name in on_the_way),
            remedy="leaving them out would change the features; if they are of another part, save the backbone's weights alone",
        )
    if inside:
        raise MismatchedWeights(
            "The blocks of this checkpoint hold weights that a DINOv3 block does not have.",
            evidence=listed(shelf.names.get(name, name) for name in inside),
            remedy="leaving them out would change the features: this is another architecture, or a modified one",
        )
    order = [*shapes(spec), *(name for name in ("rope_periods",) if name in weights)]
    common = [name for name, _ in shelf.taken.most_common()]
    return Backbone(
        spec,
        {name: weights[name] for name in order},
        " and ".join(common),
        tuple(shelf.assumed),
        tuple(name for name in left if name not in inside),
    )


def check_kind(statements: Statements, family: str, activation: str) -> None:
    """Raises `UnknownForm` if somebody says that this is another model, or has another activation than DINOv3's."""
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
    if count > _LARGEST:
        raise UnknownForm(
            "This looks like DINOv3's 7B teacher, not like one of the backbones distilled from it.",
            evidence=f"{count / 1e9:.1f} billion parameters: {describe(spec)}",
            remedy="edgec compiles the distilled backbones; the largest has 0.84 billion parameters",
        )


def _small(number: str) -> int:
    """A block's number. A name from outside may claim any; past every real model it is the claim that is wrong."""
    if len(number) > 3:
        raise MismatchedWeights("A tensor's name has a block number past every model.", evidence=shown(number, 40))
    return int(number)


def _unusable(tensor: Tensor, shape: Shape) -> str:
    """Why a tensor cannot be this weight; empty if it can."""
    import torch

    if tuple(tensor.shape) != shape:
        return f"{dimensions(tensor.shape)}; needed {dimensions(shape)}"
    if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        return f"{str(tensor.dtype).removeprefix('torch.')}; needed float16, bfloat16 or float32"
    return ""
