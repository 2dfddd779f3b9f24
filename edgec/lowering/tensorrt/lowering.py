"""One strongly typed graph for each precision for TensorRT, and its simulation on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgec.errors import TargetError, UnsupportedOperation
from edgec.host.cores import usable_cores
from edgec.lowering.base import Availability, LoweredModel, Lowering, Runner
from edgec.records.evidence import Evidence

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.graph.plan import PrecisionPlan

FOLDED = "folded"
"""The form of int8 whose products hand over fp16 (`edgec.lowering.tensorrt.scales`)."""
VARIANTS = ("int8", "int8-folded", "fp8", "fp16", "fp32")
"""In the order in which a board tries them when one does not reproduce the features."""
TENSORRT = {
    "int8": ("10.0", "12"),
    "int8-folded": ("10.1", "12"),
    "fp8": ("10.13", "12"),
    "fp16": ("8.6", "12"),
    "fp32": ("8.6", "12"),
}
"""The first TensorRT version that accepts each variant, and the first that has not been examined. 8.x refuses weights that are
int8 in the file ("invalid weights type of Int8", microsoft/onnxruntime#11535); opset 19 is read from 10.1 on. 10.13 is the oldest
on a board whose GPU has fp8."""
CAPABILITY = {"fp8": "8.9"}
"""The least compute capability that multiplies a variant's types, where not every GPU does. TensorRT-RTX 1.7.1 refuses E4M3 for
SM 86 ("the model contains HW-specific datatypes: fp8_e4m3") and compiles it for 89, 120 and 121."""


def has_types(variant: str, compute_capability: str) -> bool:
    """Whether a GPU of this compute capability, such as 8.7, multiplies the variant's types."""
    return _numbers(compute_capability) >= _numbers(CAPABILITY.get(variant, "0"))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


class TensorRt(Lowering):
    """TensorRT on NVIDIA boards. What its runner computes on this machine is `simulated`: engines are built on the board."""

    name = "tensorrt"
    title = "TensorRT"
    precisions = ("fp32", "fp16", "int8", "fp8")
    int8_kinds = ("linear", "convolution")
    forms: ClassVar[Mapping[str, tuple[str, ...]]] = {"int8": (FOLDED,)}
    evidence = Evidence.SIMULATED
    """Of whatever its runner computes: there is no engine on this machine."""

    def availability(self) -> Availability:
        """Whether ONNX Runtime, which simulates TensorRT here, is installed. TensorRT itself is not needed."""
        from edgec.lowering.onnxruntime import OnnxRuntime

        state = OnnxRuntime().availability()
        return replace(state, version=f"simulated by ONNX Runtime {state.version}") if state.available else state

    def fitted(self, hub: ir.Model, plan: PrecisionPlan, peaks: Mapping[str, float]) -> PrecisionPlan:
        """The plan of `with_headroom`; one in int8 has whole MLPs in fp16 where their second product is (`with_whole_mlps`), one
        in fp8 attention's own products in fp8, too (`with_attention`)."""
        from edgec.lowering.tensorrt.attention import with_attention
        from edgec.lowering.tensorrt.mlps import with_whole_mlps
        from edgec.lowering.tensorrt.writing import with_headroom

        fitted = with_headroom(hub, plan, peaks)
        if (whole := with_whole_mlps(hub, fitted)) is not fitted:  # what is fp16 now could overflow, too
            fitted = with_headroom(hub, whole, peaks)
        return with_attention(hub, fitted, peaks) if plan.activations == "fp8" else fitted

    def check_head(self, head: ir.Model, versions: Sequence[str] = ()) -> None:
        """By the rules for these versions of TensorRT; without versions, opset 17 is all that is required."""
        import onnx_ir as ir

        from edgec.graph.passes.base import rewritten
        from edgec.lowering.tensorrt.check import check_graph
        from edgec.lowering.tensorrt.opset import ToOpset17

        written = ir.to_proto(rewritten(head, ToOpset17()))
        violations = [violation for violation in check_graph(written, versions) if violation.is_error]
        if violations:
            first = violations[0]
            raise UnsupportedOperation(
                f"TensorRT {', '.join(first.versions)} does not take it. {first.rule.consequence}",
                evidence=[f"{violation.rule.id}: {', '.join(violation.places[:8])}" for violation in violations],
                remedy=first.rule.remedy,
            )

    def lower(self, hub: ir.Model, plan: PrecisionPlan, directory: Path) -> LoweredModel:
        """Writes `<plan's name>.onnx`. `settings["float32"]` has the operations that had to stay in float32, each with the
        reason."""
        return self.lower_form(hub, plan, "", directory)

    def lower_form(self, hub: ir.Model, plan: PrecisionPlan, form: str, directory: Path) -> LoweredModel:
        """As `lower`; the form `folded` is of int8 (`edgec.lowering.tensorrt.scales`), in `<plan's name>-folded.onnx`. fp8 has no
        other, because E4M3 needs opset 19 anyway."""
        from edgec.graph.files import save
        from edgec.lowering.tensorrt.writing import typed_model

        model, in_float32 = typed_model(hub, plan, folded=form == FOLDED or plan.activations == "fp8")
        entry = f"{variant_name(plan.name, form)}.onnx"
        files = save(model, directory / entry)
        return LoweredModel(self.name, directory, entry, files, {"precision": plan.name, "float32": in_float32})

    def load(self, model: LoweredModel, *, threads: int | None = None) -> Runner:
        """Opens the graph in the simulation. Needs onnx, beside numpy and ONNX Runtime."""
        from edgec.lowering.tensorrt.simulation import open_simulated

        state = self.availability()
        if not state.available:
            raise TargetError(
                "ONNX Runtime, which simulates TensorRT here, is not installed.", evidence=state.problem, remedy=state.install
            )
        return open_simulated(model, threads or usable_cores())


def variant_name(precision: str, form: str = "") -> str:
    """What a precision in one of its forms is called in files, and on boards: `int8`, `int8-folded`."""
    return f"{precision}-{form}" if form else precision
