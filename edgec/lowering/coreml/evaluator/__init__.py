"""A reference evaluator for saved Core ML packages: numpy alone, no part of coremltools. See `program` for what it promises."""

from edgec.lowering.coreml.evaluator.program import Program, load

__all__ = ["Program", "load"]
