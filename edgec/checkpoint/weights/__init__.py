"""Recognised tensors to float32 weights under edgec's names, and the dimensions that they imply; random weights."""
