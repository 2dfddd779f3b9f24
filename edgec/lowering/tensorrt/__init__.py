"""TensorRT on NVIDIA Jetson and RTX GPUs: the graphs for it, checks of them for each of its versions, and a simulation.

Engines are built on the board. Here the hub graph becomes one strongly typed ONNX graph for each precision, opset 17, and the
same graph is run on this machine with every tensor rounded to its type.
"""

from edgec.lowering.tensorrt.lowering import TensorRt

__all__ = ["TensorRt"]
