"""Heads that are ONNX files: read and checked (`reading`), brought to the hub graph's opset and static shapes (`preparing`).

Files, and ONNX's own C++ functions (checker, inliner, version converter, shape inference), work on protobufs; all else on
onnx-ir.
"""
