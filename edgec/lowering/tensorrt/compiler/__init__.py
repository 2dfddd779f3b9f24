"""NVIDIA's own parser and compiler on a machine without a GPU.

TensorRT-RTX compiles ahead of time: its packages hold the ONNX parser and the compiler of TensorRT, and need no driver. It is not
the TensorRT of a Jetson: it knows desktop GPUs' instruction sets only, of which one stands for each Jetson (`machines`). Kernels,
types and bytes are read from what it says while it compiles (`kernels`); nothing is run.
"""
