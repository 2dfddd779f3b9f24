"""The tensors of a head's file under edgec's names, each checked against the shape that it must have.

The layouts of Meta's published heads and of what its evaluation code saves are read too (facebookresearch/dinov3:
`hub/classifiers.py`, `eval/linear.py`, `eval/segmentation/models/heads/linear_head.py`, `eval/depth/models/dpt_head.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec.checkpoint.containers.tensors import TensorCopier
from edgec.errors import HeadError
from edgec.heads.types import Array, Description
from edgec.text import cut, dimensions, listed, shown
from edgec.untrusted import Refused

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPING = ("model.", "module.", "state_dict.", "segmentation_model.1.", "decoder.", "linear_classifiers.")
_TRAINING = re.compile(r"optimizer\..*|.*num_batches_tracked")
_SPELLINGS = (
    (re.compile(r"(?:conv|linear|classifier|head|fc|conv_seg|linear_head)\.(weight|bias)"), r"\1"),
    (re.compile("coef_"), "weight"),  # scikit-learn's
    (re.compile("intercept_"), "bias"),
    (re.compile(r"(?:batchnorm_layer|bn|norm|batch_norm)\.(weight|bias)"), r"norm.\1"),
    (re.compile(r"(?:batchnorm_layer|bn|norm|batch_norm)\.running_mean"), "norm.mean"),
    (re.compile(r"(?:batchnorm_layer|bn|norm|batch_norm)\.running_var"), "norm.variance"),
)
NORM = ("norm.weight", "norm.bias", "norm.mean", "norm.variance")
Shape = tuple[int, ...]


def without_wrapping(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors without those of training, their names without what all of them begin with. Raises `HeadError` if no name
    begins with the `prefix` that the description asks for, and if the file holds several classifiers."""
    chosen = {name: tensor for name, tensor in tensors.items() if not _TRAINING.fullmatch(name)}
    if prefix:
        chosen = _under(prefix, chosen)
    chosen = _unwrapped(chosen)
    classifiers = {name.rsplit(".linear.", 1)[0] for name in chosen if name.startswith("classifiers_dict.")}
    if len(classifiers) == 1:
        chosen = {name.rsplit(".linear.", 1)[-1]: tensor for name, tensor in chosen.items()}
    elif classifiers:
        raise HeadError(
            f"The file holds {len(classifiers)} linear classifiers; a head is one of them.",
            evidence=listed(sorted(classifiers)),
            remedy='name the best of them in a TOML beside it: prefix = "linear_classifiers.classifiers_dict.…"',
        )
    return chosen


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while tensors and (common := next((each for each in _WRAPPING if all(name.startswith(each) for name in tensors)), "")):
        tensors = {name.removeprefix(common): tensor for name, tensor in tensors.items()}
    return tensors


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, with or without `module.` and the like before it: errors show names without
    them. Raises `HeadError` if there are none."""
    dotted = prefix if prefix.endswith(".") else f"{prefix}."
    bare = dotted
    while common := next((each for each in _WRAPPING if bare.startswith(each)), ""):
        bare = bare.removeprefix(common)
    for start, names in ((dotted, tensors), (bare, _unwrapped(tensors))):
        chosen = {name.removeprefix(start): tensor for name, tensor in names.items() if start and name.startswith(start)}
        if chosen:
            return chosen
    raise HeadError(f"No tensor's name begins with {shown(dotted)}.", evidence=f"there are: {listed(tensors)}")


def recognised(tensors: Mapping[str, Tensor], path: Path) -> Description:
    """The description of a file that has none, by its tensors' names. Raises `HeadError` if no kind of head recognises them."""
    from edgec.heads.kinds import KINDS, description

    for kind in KINDS.values():
        if kind.recognises(tensors.keys(), path):
            return description()(kind=kind.kind)
    *others, last = (f'"{kind}"' for kind in KINDS)
    raise HeadError(
        f"{shown(path)} does not say what kind of head it is.",
        evidence=f"its tensors: {listed(tensors)}",
        remedy=f"write {shown(path.with_suffix('.toml').name)} with kind = {', '.join(others)} or {last}, and with "
        'prefix = "…" if the file holds more than the head; export heads of other kinds as ONNX',
    )


def take(described: Description, tensors: Mapping[str, Tensor], where: str) -> dict[str, Array]:
    """The head's weights, float32. Raises `HeadError` listing all tensors that are missing, unknown, of a wrong shape or type, or
    not finite."""
    from edgec.heads.kinds import KINDS

    arrays, problems = _arrays(tensors)
    arrays, wrong = KINDS[described.kind].take(described, arrays, where)
    if problems or wrong:
        raise HeadError(
            f"{shown(where)} holds no usable {described.kind} head.",
            evidence=cut(problems + wrong),
            remedy="check that kind is right, and that the file is whole and of a training that did not diverge",
        )
    return arrays


def canonical(name: str) -> str:
    """edgec's name for a tensor of a linear layer or its batch norm, from any framework's."""
    return next((pattern.sub(right, name) for pattern, right in _SPELLINGS if pattern.fullmatch(name)), name)


def _arrays(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Array], list[str]]:
    copier = TensorCopier()
    arrays: dict[str, Array] = {}
    problems = []
    for name, tensor in tensors.items():
        try:
            if not tensor.is_floating_point():
                raise Refused(f"no plain tensor of floats ({str(tensor.dtype).removeprefix('torch.')})")
            arrays[name] = copier.float32(tensor).numpy()
        except Refused as error:
            problems.append(f"{shown(name, 80)} is {shown(error)}")
            continue
        if not np.isfinite(arrays[name]).all():
            problems.append(f"{shown(name, 80)} holds NaN or infinity")
        if arrays[name].size == 0:
            problems.append(f"{shown(name, 80)} is empty")
    return arrays, problems


def take_rows(arrays: Mapping[str, Array], *, norm: bool = False) -> tuple[dict[str, Array], list[str]]:
    """`weight` [C, D] and `bias` [C] (zeros if it is absent) of a linear layer or a 1x1 convolution, with `norm` also the batch
    norm before it, if there is one; and what is wrong with them."""
    arrays = {canonical(name): value for name, value in arrays.items()}
    weight = arrays.get("weight")
    if weight is not None and weight.ndim == 4 and weight.shape[2:] == (1, 1):
        arrays["weight"] = weight = weight[:, :, 0, 0]
    if weight is None or weight.ndim != 2:
        actual = "missing" if weight is None else dimensions(weight.shape)
        return arrays, [f"weight is {actual}; needed classes x inputs", f"there are: {listed(arrays)}"]
    rows, columns = weight.shape
    expected: dict[str, Shape] = {"weight": (rows, columns), "bias": (rows,)}
    if norm and any(name in arrays for name in NORM):
        arrays = {"norm.weight": np.ones(columns, np.float32), "norm.bias": np.zeros(columns, np.float32)} | arrays
        expected |= dict.fromkeys(NORM, (columns,))
    if "bias" not in arrays:
        arrays["bias"] = np.zeros(rows, np.float32)
    wrong = compare(arrays, expected)
    if not wrong and (arrays.get("norm.variance", np.ones(1)) < 0).any():
        wrong.append("norm.variance is negative")
    return arrays, wrong


def compare(arrays: Mapping[str, Array], expected: Mapping[str, Shape]) -> list[str]:
    """A line for each array that is missing or of another shape, and one for those that are unknown."""
    wrong = [f"{name} is missing; needed {dimensions(shape)}" for name, shape in expected.items() if name not in arrays]
    wrong += [
        f"{name} is {dimensions(arrays[name].shape)}; needed {dimensions(shape)}"
        for name, shape in expected.items()
        if name in arrays and arrays[name].shape != shape
    ]
    unknown = sorted(set(arrays) - set(expected))
    return [*wrong, f"not known: {listed(unknown)}"] if unknown else wrong
