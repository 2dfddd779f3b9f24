"""A head's tensors, under one set of names, each checked against the shape that it must have.

    linear, segmentation   weight [C, D], bias [C]; segmentation may have norm.{weight,bias,mean,variance} [D]
    mlp                    N.weight [K, D], N.bias [K], N counting from 0
    depth                  Meta's names (`edgec.heads.depth`)

Accepted besides: the layouts of Meta's published heads and of what its evaluation code saves (facebookresearch/dinov3:
`hub/classifiers.py`, `eval/linear.py`, `eval/segmentation/models/heads/linear_head.py`, `eval/depth/models/dpt_head.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec.checkpoint.taking import Taking
from edgec.checkpoint.text import cut, dimensions, listed, shown
from edgec.errors import HeadError
from edgec.heads.types import Array, Description
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
    """Of a file without description. Meta's classifiers and segmentation heads say enough by themselves."""
    names = {_spelt(name) for name in tensors}
    if names == {"weight", "bias"} and tensors.keys() != {"conv.weight", "conv.bias"}:
        return Description(kind="linear")
    if {"weight", "bias"} <= names <= {"weight", "bias", *NORM}:
        return Description(kind="segmentation")
    if any(name.startswith("reassemble_blocks.") for name in tensors):
        raise HeadError(
            f"{shown(path)} is a DPT depth head, and nothing says which layers it reads.",
            evidence="Meta's own are for ViT-L/16 ([4, 11, 17, 23], depths 0.001 to 100) and 7B",
            remedy=f'write {shown(path.with_suffix(".toml").name)}: kind = "depth", layers = […], min_depth = …, max_depth = …',
        )
    toml = shown(path.with_suffix(".toml").name)
    raise HeadError(
        f"{shown(path)} does not say what kind of head it is.",
        evidence=f"its tensors: {listed(tensors)}",
        remedy=f'write {toml} with kind = "linear", "segmentation", "mlp" or "depth", and with prefix = "…" if the file holds '
        "more than the head; export what is none of these as ONNX",
    )


def take(described: Description, tensors: Mapping[str, Tensor], where: str) -> dict[str, Array]:
    """The head's weights, float32. Raises `HeadError` telling everything that is missing, too much, of a wrong shape or type, or
    not finite."""
    arrays, problems = _arrays(tensors)
    if described.kind in ("linear", "segmentation"):
        arrays = {_spelt(name): value for name, value in arrays.items()}
        arrays, wrong = _take_linear(described, arrays)
    elif described.kind == "mlp":
        arrays, wrong = _take_mlp(arrays)
    else:
        from edgec.heads.depth import shapes

        wrong = _compare(arrays, shapes(described, {name: value.shape for name, value in arrays.items()}, where))
    if problems or wrong:
        raise HeadError(
            f"{shown(where)} holds no usable {described.kind} head.",
            evidence=cut(problems + wrong),
            remedy="check that kind is right, and that the file is whole and of a training that did not diverge",
        )
    return arrays


def inputs(described: Description, weights: Mapping[str, Array]) -> tuple[str, ...]:
    """What the head reads of the hub graph's outputs."""
    if described.kind == "linear":
        if described.features == "mean":
            pooled(described, weights)
            return ("patches",)
        return ("cls",) if pooled(described, weights) == 1 else ("cls", "patches")
    return tuple(f"patches_{layer}" for layer in described.layers) or ("patches",)


def pooled(described: Description, weights: Mapping[str, Array]) -> int:
    """How many vectors a linear classifier reads side by side: 1 is CLS or the mean of the patches, 2 are both.

    Without a word about it they are two, as in Meta's own classifiers. Raises `HeadError` if width and weights disagree.
    """
    columns = weights["weight"].shape[1]
    count = {"cls": 1, "mean": 1, "cls+mean": 2, None: 2}[described.features]
    if described.features is None and described.width == columns:
        count = 1
    if columns % count or described.width not in (None, columns // count):
        raise HeadError(
            "The classifier's weights do not fit what is said of it.",
            evidence=f"{columns} inputs; width {described.width or 'not given'}, "
            + (f"features {described.features}" if described.features else "features not given: CLS and the patches' mean"),
            remedy='say features = "cls", "mean" or "cls+mean", and the width of one of them',
        )
    return count


def channels(described: Description, weights: Mapping[str, Array]) -> int:
    """How many classes, values or bins come out."""
    if described.kind == "depth":
        return len(weights["conv_depth.head.4.weight"])
    if described.kind == "mlp":
        return len(weights[f"{len(weights) // 2 - 1}.weight"])
    return len(weights["weight"])


def _spelt(name: str) -> str:
    return next((pattern.sub(right, name) for pattern, right in _SPELLINGS if pattern.fullmatch(name)), name)


def _arrays(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Array], list[str]]:
    taking = Taking()
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


def _take_linear(described: Description, arrays: dict[str, Array]) -> tuple[dict[str, Array], list[str]]:
    weight = arrays.get("weight")
    if weight is not None and weight.ndim == 4 and weight.shape[2:] == (1, 1):
        arrays["weight"] = weight = weight[:, :, 0, 0]
    if weight is None or weight.ndim != 2:
        found = "missing" if weight is None else dimensions(weight.shape)
        return arrays, [f"weight is {found}; needed classes x inputs", f"there are: {listed(arrays)}"]
    rows, columns = weight.shape
    expected: dict[str, Shape] = {"weight": (rows, columns), "bias": (rows,)}
    if described.kind == "segmentation" and any(name in arrays for name in NORM):
        arrays = {"norm.weight": np.ones(columns, np.float32), "norm.bias": np.zeros(columns, np.float32)} | arrays
        expected |= dict.fromkeys(NORM, (columns,))
    if "bias" not in arrays:
        arrays["bias"] = np.zeros(rows, np.float32)
    wrong = _compare(arrays, expected)
    if not wrong and (arrays.get("norm.variance", np.ones(1)) < 0).any():
        wrong.append("norm.variance is negative")
    return arrays, wrong


def _take_mlp(arrays: dict[str, Array]) -> tuple[dict[str, Array], list[str]]:
    """Numbers are those of an `nn.Sequential`, whose activations take numbers too."""
    numbers = sorted({int(match.group(1)) for name in arrays if (match := re.search(r"(\d{1,3})\.(?:weight|bias)$", name))})
    taken: dict[str, Array] = {}
    wrong = []
    for index, number in enumerate(numbers):
        for part in ("weight", "bias"):
            ends = [name for name in arrays if re.fullmatch(rf"(?:.*\.)?{number}\.{part}", name)]
            if len(ends) != 1:
                wrong.append(f"{'no' if not ends else 'more than one'} tensor {number}.{part}")
                continue
            value = arrays[ends[0]]
            taken[f"{index}.{part}"] = value[:, :, 0, 0] if value.ndim == 4 and value.shape[2:] == (1, 1) else value
    if not numbers or len(taken) != len(arrays):
        wrong.append(f"needed 0.weight, 0.bias, 2.weight, …; there are: {listed(arrays)}")
    if not wrong:
        wrong += [f"{name} has {value.ndim} dimensions" for name, value in taken.items() if value.ndim != 2 - ("bias" in name)]
    if not wrong:
        for index in range(len(numbers)):
            weight, bias = taken[f"{index}.weight"], taken[f"{index}.bias"]
            if len(bias) != len(weight):
                wrong.append(f"{index}.bias is {len(bias)}; {index}.weight has {len(weight)} outputs")
            if index and weight.shape[1] != len(taken[f"{index - 1}.weight"]):
                given = len(taken[f"{index - 1}.weight"])
                wrong.append(f"{index}.weight has {weight.shape[1]} inputs; {index - 1}.weight gives {given}")
    return taken, wrong


def _compare(arrays: Mapping[str, Array], expected: Mapping[str, Shape]) -> list[str]:
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
