"""Every operation that the evaluator knows; importing this package registers them."""

from edgec.lowering.coreml.evaluator.operations import (  # noqa: F401 - imported to register their operations
    convolution,
    elementwise,
    products,
    quantisation,
    reductions,
    resampling,
    shapes,
)
from edgec.lowering.coreml.evaluator.operations.registry import EXACT, OPERATIONS, PARAMETERS, Unsupported

__all__ = ["EXACT", "OPERATIONS", "PARAMETERS", "Unsupported"]
