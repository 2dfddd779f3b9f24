"""The DINOv3 family: dimensions, and PyTorch modules written to be exported."""
