"""NVIDIA's RTX GPUs: the graphs of Jetsons, one engine of each for all GPUs, compiled here and measured on the machine."""
