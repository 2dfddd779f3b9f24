"""Passes over the hub graph, one a file. Each takes an `onnx.ModelProto` and changes it in place."""
