"""What a vendor's own compiler made of a graph on this machine: nothing was run, so there is no time in it, and no noise."""

from __future__ import annotations

from pydantic import Field

from edgec.records.base import Record
from edgec.records.evidence import Evidence


class Compilation(Record):
    """One graph, compiled for one kind of GPU. A graph that was refused has a `refusal` and no counts."""

    compiler: str
    """Name and version, e.g. "TensorRT-RTX 1.7.1.116"."""
    core: str = ""
    """The TensorRT that this version of the compiler is built from, e.g. "11.4"; empty where that is not known."""
    sm: str
    """The streaming multiprocessor that was compiled for, e.g. "86": compute capability 8.6."""
    boards: tuple[str, ...] = ()
    """The profiles whose GPU this SM stands for: the compiler has none of a Jetson's own."""
    refusal: str = ""
    """Why the parser or the compiler does not take the graph, in its own words."""
    kernels: int = Field(default=0, ge=0)
    kernels_by_kind: dict[str, int] = Field(default={})
    """Kinds as in `edgec.lowering.tensorrt.compiler.kernels`."""
    attentions: int = Field(default=0, ge=0)
    """In the graph."""
    attentions_fused: int = Field(default=0, ge=0)
    """Those of which one kernel does both products and the softmax between them."""
    products: dict[str, int] = Field(default={})
    """Matrix products and convolutions of the graph, by the type in which the compiled kernel reads its activation."""
    moved_bytes: int = Field(default=0, ge=0)
    """Inputs and outputs of all kernels of one run, as each lists them, constants aside: a tensor counts for every kernel that
    reads it, and parts of a tensor that one kernel lists count each."""
    constant_bytes: int = Field(default=0, ge=0)
    """Weights and other constants that the kernels of one run read."""
    weights_bytes: int = Field(default=0, ge=0)
    activation_bytes: int = Field(default=0, ge=0)
    """What the compiler reserves for everything that passes between kernels."""
    engine_bytes: int = Field(default=0, ge=0)
    compile_s: float = Field(ge=0)
    """On this machine."""
    evidence: Evidence = Evidence.COMPILED

    @property
    def accepted(self) -> bool:
        """Whether parser and compiler took the graph."""
        return not self.refusal
