"""TensorRT on NVIDIA Jetson: what the workstation makes for it, checks against its versions, and imitates.

Engines are built on the board. Here the hub graph becomes one strongly typed ONNX graph a precision, opset 17, and the same graph
is run on this machine with every tensor rounded to its type.
"""

from edgec.lowering.tensorrt.lowering import TensorRt

__all__ = ["TensorRt"]
