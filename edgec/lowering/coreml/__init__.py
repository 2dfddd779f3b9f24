"""Core ML on Apple silicon: the hub graph and its plan as a MIL program in an `.mlpackage`, operation by operation.

Packages are written on Linux or macOS with coremltools' builder. Core ML itself runs on a Mac alone; here the *saved* package is
run by `edgec.lowering.coreml.evaluator`, with numpy.
"""

from edgec.lowering.coreml.lowering import CoreMl

__all__ = ["CoreMl"]
