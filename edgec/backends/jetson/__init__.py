"""NVIDIA Jetson: graphs that TensorRT on the board builds engines of, and chooses from by its own measurements."""
