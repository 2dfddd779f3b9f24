"""The tensors of a head's file, under one set of names, each checked against the shape that it must have.

Accepted besides: the layouts of Meta's published heads and of what its evaluation code saves (facebookresearch/dinov3:
`hub/classifiers.py`, `eval/linear.py`, `eval/segmentation/models/heads/linear_head.py`, `eval/depth/models/dpt_head.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
    """Without what belongs to training, and without what all names begin with. Raises `HeadError` if a prefix was asked for and
    no name begins with it."""
    left = {name: tensor for name, tensor in tensors.items() if not _TRAINING.fullmatch(name)}
    if prefix:
        left = _under(prefix, left)
    left = _unwrapped(left)
    alone = {name.rsplit(".linear.", 1)[0] for name in left if name.startswith("classifiers_dict.")}
    if len(alone) == 1:
        left = {name.rsplit(".linear.", 1)[-1]: tensor for name, tensor in left.items()}
    elif alone:
        raise HeadError(
            f"The file holds {len(alone)} linear classifiers, of which a build takes one.",
            evidence=listed(sorted(alone)),
            remedy='name the best of them in a TOML beside it: prefix = "linear_classifiers.classifiers_dict.…"',
        )
    return left


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while tensors and (common := next((each for each in _WRAPPING if all(name.startswith(each) for name in tensors)), "")):
        tensors = {name.removeprefix(common): tensor for name, tensor in tensors.items()}
    return tensors


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with the prefix, as they stand in the file or as refusals tell them: without `module.` and the
    like. Raises `HeadError` if there are none."""
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
    """Of a file without description. Raises `HeadError` if no kind of head knows it by its names alone."""
    from edgec.heads.kinds import KINDS, description

    for kind in KINDS.values():
        if kind.recognises(tensors.keys(), path):
            return description()(kind=kind.kind)
    *kinds, last = (f'"{kind}"' for kind in KINDS)
    raise HeadError(
        f"{shown(path)} does not say what kind of head it is.",
        evidence=f"its tensors: {listed(tensors)}",
        remedy=f"write {shown(path.with_suffix('.toml').name)} with kind = {', '.join(kinds)} or {last}, and with "
        'prefix = "…" if the file holds more than the head; export what is none of these as ONNX',
    )


def take(described: Description, tensors: Mapping[str, Tensor], where: str) -> dict[str, Array]:
    """The head's weights, float32. Raises `HeadError` telling everything that is missing, too much, of a wrong shape or type, or
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


def spelt(name: str) -> str:
    """What edgec calls the tensor of a classifier, a segmentation head or its batch norm, whatever a framework calls it."""
    return next((pattern.sub(right, name) for pattern, right in _SPELLINGS if pattern.fullmatch(name)), name)


def _arrays(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Array], list[str]]:
    taking = TensorCopier()
    arrays: dict[str, Array] = {}
    problems = []
    for name, tensor in tensors.items():
        try:
            if not tensor.is_floating_point():
                raise Refused(f"no plain tensor of floats ({str(tensor.dtype).removeprefix('torch.')})")
            arrays[name] = taking.float32(tensor).numpy()
        except Refused as error:
            problems.append(f"{shown(name, 80)} is {shown(error)}")
            continue
        if not np.isfinite(arrays[name]).all():
            problems.append(f"{shown(name, 80)} holds NaN or infinity")
        if arrays[name].size == 0:
            problems.append(f"{shown(name, 80)} is empty")
    return arrays, problems


def take_rows(arrays: Mapping[str, Array], *, norm: bool = False) -> tuple[dict[str, Array], list[str]]:
    """`weight` [C, D] and `bias` [C], which may be absent, of a linear layer or a 1x1 convolution, and with `norm` the batch norm
    before it, if there is one; and what is wrong with them."""
    arrays = {spelt(name): value for name, value in arrays.items()}
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
    """What is missing, of another shape, or not known."""
    wrong = [f"{name} is missing; needed {dimensions(shape)}" for name, shape in expected.items() if name not in arrays]
    wrong += [
        f"{name} is {dimensions(arrays[name].shape)}; needed {dimensions(shape)}"
        for name, shape in expected.items()
        if name in arrays and arrays[name].shape != shape
    ]
    return wrong + _unknown(set(arrays) - set(expected))


def _unknown(names: Iterable[str]) -> list[str]:
    left = sorted(names)
    return [f"not known: {listed(left)}"] if left else []
