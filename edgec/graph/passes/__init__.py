"""Passes over the hub graph, one a file: onnx-ir passes, each with promises that are checked whenever it runs (`base`)."""
