"""The kernels that a compiler made of a graph, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgec.graph.blocks import block_of, numbered_blocks
from edgec.lowering.tensorrt.compiler.kernels import Kernel, KernelTensor
from edgec.report.sheets import Sheet, numbers, sheet, texts

_SHOWN = 4
_BETWEEN = (".quantised", ".dequantised", ".fp16", ".fp32", ".single", ".channels")
"""How the names of nodes end that change types."""
_LAST = "behind the blocks"
_FIRST = "before the blocks"


@dataclass(frozen=True)
class Part:
    """Kernels of one place in the backbone: a block, or what stands before or behind all blocks. `blocks` are all that have the
    very same kernels."""

    place: str
    kernels: tuple[Kernel, ...]
    blocks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """For people."""
        if len(self.blocks) < 2:
            return self.place
        return f"{self.place}, and in the same way {len(self.blocks) - 1} more: {', '.join(self.blocks[1:])}"


def parts(kernels: Sequence[Kernel]) -> tuple[Part, ...]:
    """In the order in which they run. A kernel that works for two blocks belongs to the earlier one; blocks with the same kernels
    are one part."""
    numbers = numbered_blocks(name for kernel in kernels for name in kernel.operations)
    places: dict[str, list[Kernel]] = {}
    latest = _FIRST
    for kernel in kernels:
        own = [block for name in kernel.operations if (block := block_of(name))]
        latest = min(own, key=numbers.__getitem__) if own else latest if not kernel.operations else _outside(latest)
        places.setdefault(latest, []).append(kernel)
    alike: dict[object, Part] = {}
    for place, group in places.items():
        form = tuple(_form(kernel, place) for kernel in group)
        same = alike.get(form)
        alike[form] = Part(
            same.place if same else place, tuple(group) if not same else same.kernels, (*(same.blocks if same else ()), place)
        )
    return tuple(alike.values())


def kernels_sheet(part: Part) -> Sheet:
    """A row a kernel: its kind, how much it moves, what it reads and writes, and the operations in it. Kernels that multiply are
    set off: the others are what the compiler could not fuse into them."""
    rows = [
        (
            kernel.kind,
            *(f"{size / 1e3:.0f}" for size in (kernel.moved_bytes, kernel.constant_bytes)),
            _tensors(kernel.inputs),
            _tensors(kernel.outputs),
            _operations(kernel, part.place),
        )
        for kernel in part.kernels
    ]
    strong = [index for index, kernel in enumerate(part.kernels) if kernel.kind not in ("glue", "copy")]
    return sheet(texts("kind") + numbers("moved KB", "const. KB") + texts("reads", "writes", "operations"), rows, strong)


def kernels_json(kernels: Iterable[Kernel]) -> list[dict[str, object]]:
    """One object a kernel."""
    return [
        {
            "name": kernel.name,
            "kind": kernel.kind,
            "operations": list(kernel.operations),
            "reads": list(map(str, kernel.inputs)),
            "writes": list(map(str, kernel.outputs)),
            "moved_bytes": kernel.moved_bytes,
            "constant_bytes": kernel.constant_bytes,
        }
        for kernel in kernels
    ]


def _outside(latest: str) -> str:
    return latest if latest in (_FIRST, _LAST) else _LAST


def _form(kernel: Kernel, place: str) -> object:
    """What makes two kernels of two blocks the same."""
    tensors = tuple(map(_tensors, (kernel.inputs, kernel.constants, kernel.outputs)))
    return kernel.kind, tensors, frozenset(name.removeprefix(place) for name in kernel.operations if name.startswith(place))


def _operations(kernel: Kernel, place: str) -> str:
    """Those of the hub graph, without what lowering put between them."""
    names = [name.removeprefix(f"{place}.") for name in kernel.operations if not name.endswith(_BETWEEN)]
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _tensors(tensors: Iterable[KernelTensor]) -> str:
    counts = Counter(map(str, tensors))
    return ", ".join(f"{count}x {tensor}" if count > 1 else tensor for tensor, count in counts.items()) or "-"
