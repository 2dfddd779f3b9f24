"""Tensors under the right names that are not what the names promise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_MOST = 1 << 22
"""Values in one that is written out; an expanded one may claim any number."""


def spoilt(random: Random, state: dict[str, Any]) -> str:
    """Changes one to five tensors of `state`; returns what was done."""
    done = []
    for _ in range(random.choice((1, 1, 2, 5))):
        if not state:
            break
        name, change = random.choice(sorted(state)), random.choice(_CHANGES)
        if small(state[name]):
            done.append(f"{change.__name__[1:]} {name}")
            with suppress(RuntimeError, TypeError, ValueError):  # tensors of odd kinds do not take every change
                change(random, state, name)
    return ", ".join(done)


def small(tensor: Any) -> bool:
    """Whether it is a usual tensor that may be copied: what was expanded takes its memory only then."""
    return type(tensor).__name__ == "Tensor" and str(tensor.layout) == "torch.strided" and tensor.numel() <= _MOST


def _shape(random: Random, state: dict[str, Any], name: str) -> None:
    import torch

    shape = list(state[name].shape) or [1]
    place = random.randrange(len(shape))
    shape[place] = random.choice((0, 1, shape[place] + 1, shape[place] * 2, 3))
    changed: list[list[int]] = [shape, shape[::-1], [*shape, 1], shape[1:], [1] * 40, [0] * 5]
    state[name] = torch.zeros([max(0, size) for size in random.choice(changed)])


def _type(random: Random, state: dict[str, Any], name: str) -> None:
    import torch

    types = ("float16", "bfloat16", "float64", "int8", "uint8", "int32", "int64", "bool", "complex64", "float8_e4m3fn", "uint16")
    try:
        for other in random.choice(((name,), tuple(state))):
            if isinstance(state[other], torch.Tensor) and small(state[other]):
                state[other] = state[other].to(getattr(torch, random.choice(types)))
    except (RuntimeError, AttributeError):
        state[name] = state[name].to(torch.float16)


def _number(random: Random, state: dict[str, Any], name: str) -> None:
    value = random.choice((float("nan"), float("inf"), -float("inf"), 3e38, 1e-45, 1e30))
    state[name] = state[name].clone()
    flat = state[name].flatten()
    if flat.numel() and flat.is_floating_point():
        flat[random.randrange(flat.numel())] = value
        state[name] = flat.reshape(state[name].shape)


def _everywhere(random: Random, state: dict[str, Any], name: str) -> None:
    """Values that are finite, and whose products are not."""
    state[name] = state[name] * random.choice((0.0, 1e38, 1e-40, -1.0))


def _expand(random: Random, state: dict[str, Any], name: str) -> None:
    """One value that says that it is many."""
    import torch

    shape = random.choice((tuple(state[name].shape), (40_000, 50_000), (2**20, 2**20), (2**31,), (64, 3, 2**14, 2**14)))
    state[name] = torch.zeros(1).expand(shape) if shape else torch.zeros(())


def _giant(random: Random, state: dict[str, Any], name: str) -> None:
    """A whole model, many times as wide and as deep, whose file is as small."""
    import torch

    times, blocks = random.choice((8, 40, 64)), random.choice((2, 24, 60))
    for other in list(state):
        tensor = state[other]
        if small(tensor):
            shape = [size * times if size in (64, 128) else size for size in tensor.shape]
            for block in range(1, blocks if ".1." in other else 2):
                state[other.replace(".1.", f".{block}.")] = torch.zeros(1).expand(shape)


def _stride(random: Random, state: dict[str, Any], name: str) -> None:
    import torch

    shape = tuple(state[name].shape)
    if 0 < state[name].numel() < _MOST and shape:
        storage = torch.randn(state[name].numel() * 2)
        strides = [random.choice((0, 1, 2)) for _ in shape]
        reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        state[name] = storage.as_strided(shape, strides) if reach < len(storage) else state[name].flip(0)


def _layout(random: Random, state: dict[str, Any], name: str) -> None:
    """Sparse, quantised, nested and without memory."""
    import torch

    tensor: Tensor = state[name]
    makers: tuple[Callable[[], Tensor], ...] = (
        lambda: tensor.to_sparse(),
        lambda: tensor.reshape(len(tensor), -1).to_sparse_csr(),
        lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
        lambda: tensor.to("meta"),
        lambda: torch.empty(2**40, device="meta"),
        lambda: torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (2**30, 2**30)),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.nn.Parameter(tensor.float()),
    )
    try:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state[name] = random.choice(makers)()
    except (RuntimeError, IndexError, TypeError, NotImplementedError):
        state[name] = tensor[None]


def _name(random: Random, state: dict[str, Any], name: str) -> None:
    other = random.choice((
        name.replace("0", "1"), name.replace("0", "99999999999"), name.replace("0", "9" * 5000), name + ".weight", name.upper(),
        "\x1b[2J" + name, name + "\u202e", "x" * 70_000, "." * 3000, "teacher." + name, "student." + name, "",
        "a\x00b", name.swapcase(),
    ))  # fmt: skip
    tensor = state.pop(name)
    state[other] = tensor


def _remove(random: Random, state: dict[str, Any], name: str) -> None:
    for other in [name] if random.random() < 0.7 else [each for each in state if each.split(".")[-1] == name.split(".")[-1]]:
        del state[other]


def _add(random: Random, state: dict[str, Any], name: str) -> None:
    import torch

    words = (
        "lora_A",
        "qweight",
        "rope.freqs",
        "ema",
        "head.weight",
        "layer.7.x",
        "storage_tokens",
        "blocks.0.gamma_1",
        "pos_embed",
    )
    for number in range(random.choice((1, 3, 2000))):
        state[f"{name.rsplit('.', 1)[0]}.{random.choice(words)}.{number}"] = torch.zeros(random.choice((0, 1, 64)))
    if random.random() < 0.2:
        state[name] = random.choice((None, 3, "text", [1, 2], {"inner": state[name]}, {1: {2: {3: {4: {5: {6: {7: {}}}}}}}}))


def _twice(random: Random, state: dict[str, Any], name: str) -> None:
    """All of it once more, under the names of another model."""
    prefix = random.choice(("teacher.backbone.", "ema.", "model.", "state_dict_ema.", "student."))
    state.update({f"{prefix}{each}": tensor for each, tensor in list(state.items())[:500]})


_CHANGES: tuple[Callable[[Random, dict[str, Any], str], None], ...] = (
    _shape, _shape, _type, _number, _everywhere, _expand, _giant, _stride, _layout, _layout, _name, _name, _remove, _add, _twice,
)  # fmt: skip
