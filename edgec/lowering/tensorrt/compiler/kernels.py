"""The kernels that the compiler made, read from its own list of them.

A line of the list is `Name: …, LayerType: …, Inputs: [ { Name: …, Dimensions: […], …, Datatype: …, … }, …], Constants: […],
Outputs: […], TacticName: …, Metadata: [ONNX Layer: …]…`, with a unit separator (0x1F) between the layers. Kinds of kernels:

- `attention`: both products of an attention and the softmax between them;
- `product`, `convolution`: what multiplies matrices, or slides over an image;
- `copy`: only moves what another kernel has written;
- `glue`: everything else, which is what the compiler could not put into its neighbours: norms, activation functions, rotary
  embeddings, scales, additions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

KINDS: Final = ("attention", "product", "convolution", "copy", "glue")
_BYTES: Final = {
    **dict.fromkeys(("Float", "Int32"), 4.0),
    **dict.fromkeys(("Half", "BFloat16", "BF16"), 2.0),
    **dict.fromkeys(("Int8", "UInt8", "Bool", "FP8", "Fp8", "E8M0"), 1.0),
    **dict.fromkeys(("Int64", "Double"), 8.0),
    **dict.fromkeys(("Int4", "FP4", "Fp4", "FP4E2M1"), 0.5),
}
_TYPES: Final = {"Float": "fp32", "Half": "fp16", "BFloat16": "bf16", "BF16": "bf16", "Fp8": "fp8"} | dict.fromkeys(
    ("FP4", "Fp4", "FP4E2M1"), "fp4"
)
"""In edgec's words; others are written small."""
_WIDTHS: Final = {kind: width for name, width in _BYTES.items() for kind in (name.lower(), _TYPES.get(name, ""))}
_HEADER = re.compile(r"Name: (.*?), LayerType: (\w+)")
_TENSOR = re.compile(r"\{ Name: (.*?), Dimensions: \[([\d,]*)\].*?Datatype: (\w+)")
_OPERATION = re.compile(r"\[ONNX Layer: ([^\x1f]*?)\](?=\x1f|\[|$)")
_PARTS = (", Inputs: [", "], Constants: [", "], Outputs: [", "], TacticName: ")
_STEPS = re.compile(r"[A-Z][a-z]+")
_MOVES = frozenset(("Move", "Resh", "Tran", "Slic", "Conc"))
"""What the compiler calls the steps of a kernel that computes nothing, in the kernel's name."""
_MULTIPLIES = {"gemm": "product", "correlation": "convolution", "Fc": "product", "Gemm": "product", "Corr": "convolution"}
"""Types of layers, and what the compiler calls the step in a kernel that does more."""


@dataclass(frozen=True)
class KernelTensor:
    """What a kernel reads or writes. `type` is `fp32`, `fp16`, `int8`, …"""

    name: str
    type: str
    shape: tuple[int, ...]
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.type} {'x'.join(map(str, self.shape)) or '1'}"


@dataclass(frozen=True)
class Kernel:
    """One launch. `operations` are names of the graph's nodes that it computes, or helps to."""

    name: str
    kind: str
    operations: tuple[str, ...]
    inputs: tuple[KernelTensor, ...]
    constants: tuple[KernelTensor, ...]
    outputs: tuple[KernelTensor, ...]

    @property
    def moved_bytes(self) -> int:
        """Read and written, constants aside."""
        return sum(tensor.size_bytes for tensor in (*self.inputs, *self.outputs))

    @property
    def constant_bytes(self) -> int:
        """Weights and other constants that it reads."""
        return sum(tensor.size_bytes for tensor in self.constants)


def read_kernels(rows: Iterable[str]) -> tuple[Kernel, ...]:
    """In the order in which they run. Raises `ValueError` for a line that is none of the list's."""
    return tuple(map(_kernel, rows))


def fused_attentions(kernels: Sequence[Kernel], attentions: Iterable[Collection[str]]) -> int:
    """How many of `attentions`, each the names of its two products and its softmax, are one kernel."""
    return sum(any(set(names) <= set(kernel.operations) for kernel in kernels) for names in attentions)


def products_by_type(kernels: Iterable[Kernel], products: Collection[str]) -> dict[str, int]:
    """Of `products`, names of matrix products and convolutions, how many run in which type (`computes_in`)."""
    types: dict[str, str] = {}
    # A kernel that only scales what a product gave names that product, too: those that multiply come first.
    for kernel in sorted(kernels, key=lambda kernel: kernel.kind not in ("attention", "product", "convolution")):
        for name in kernel.operations:
            if name in products:
                types.setdefault(name, computes_in(kernel))
    return dict(sorted(Counter(types.values()).items()))


def computes_in(kernel: Kernel) -> str:
    """The type that a kernel multiplies in: the wider one of its first input's and its weight's, because what is merely stored in
    fewer bits is unpacked. A kernel that casts before it multiplies unpacks both, to what it writes."""
    weight = max(kernel.constants, key=lambda tensor: prod(tensor.shape), default=None)
    tensors = [*kernel.inputs[:1], *([] if weight is None else [weight])]
    steps = _steps(kernel.name)
    product = next((index for index, step in enumerate(steps) if step in _MULTIPLIES), 0)
    tensors += kernel.outputs if "Cast" in steps[:product] else ()
    return max((tensor.type for tensor in tensors), key=lambda kind: _WIDTHS.get(kind, 0), default="")


def _steps(name: str) -> list[str]:
    """What a kernel that was generated does, one step after another, as its name has it."""
    return _STEPS.findall(name.rpartition("__myl_")[2].partition("_")[0]) if "__myl_" in name else []


def _kernel(row: str) -> Kernel:
    header, *places = (_HEADER.match(row), *(row.find(part) for part in _PARTS))
    if header is None or places[0] < 0 or places[2] < 0:
        raise ValueError(f"not a line of the compiler's list of kernels: {row[:200]!r}")
    inputs, constants, outputs, end = places
    if constants < 0:  # written only where there are some, by some versions
        constants = outputs
    operations = tuple(dict.fromkeys(_OPERATION.findall(row[max(end, outputs) :])))
    return Kernel(
        name=header[1],
        kind=_kind(header[1], header[2], operations),
        operations=operations,
        inputs=_tensors(row[inputs:constants]),
        constants=_tensors(row[constants:outputs]),
        outputs=_tensors(row[outputs : end if end > 0 else len(row)]),
    )


def _kind(name: str, layer_type: str, operations: Sequence[str]) -> str:
    if "mha" in name:
        return "attention"
    steps = _steps(name)
    kind = next((_MULTIPLIES[step] for step in (layer_type, *steps) if step in _MULTIPLIES), "")
    return kind or ("copy" if steps and _MOVES.issuperset(steps) else "glue")


def _tensors(text: str) -> tuple[KernelTensor, ...]:
    return tuple(_tensor(name, sides, kind) for name, sides, kind in _TENSOR.findall(text))


def _tensor(name: str, sides: str, kind: str) -> KernelTensor:
    shape = tuple(int(side) for side in sides.split(",") if side)
    if kind not in _BYTES:
        raise ValueError(f"{name} has a type of which no size is known: {kind}")
    return KernelTensor(name, _TYPES.get(kind, kind.lower()), shape, int(prod(shape) * _BYTES[kind]))
