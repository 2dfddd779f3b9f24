"""Values out of stored tensors, by the size of what they are stored in: a file cannot ask for more memory than it has bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgec.checkpoint.stored import reason_of
from edgec.untrusted import Refused

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Taking:
    """Whoever takes tensors of one checkpoint takes them here."""

    _taken: Counter[int] = field(default_factory=Counter)
    """Bytes by the address of the storage that they came from."""

    def float32(self, tensor: Tensor) -> Tensor:
        """A copy in memory of its own. Raises `Refused`, ending the sentence "it is …", if it is no plain tensor, or if its
        storage has been taken already, by tensors that overlap it."""
        import torch

        reason = reason_of(tensor) or _not_plain(tensor)
        if reason:
            raise Refused(f"no plain tensor: {reason}")
        storage = tensor.untyped_storage()
        self._taken[storage.data_ptr()] += tensor.numel() * tensor.element_size()
        if self._taken[storage.data_ptr()] > storage.nbytes():
            raise Refused(f"stored in the same {storage.nbytes():,} bytes as other weights of this model; save clones of them")
        return tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def _not_plain(tensor: Tensor) -> str:
    """Why a tensor has no values that could be copied as they are; empty if it has."""
    import torch

    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return f"a tensor of the class {type(tensor).__name__}"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
        return f"{str(tensor.dtype).removeprefix('torch.')}, {tensor.layout}, {tensor.device}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"{tensor.untyped_storage().nbytes():,} bytes that are read again and again (an expanded view)"
    return "" if not (tensor.is_neg() or tensor.is_conj()) else "a view that negates as it is read"
