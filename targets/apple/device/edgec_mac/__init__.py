"""The part of edgec that runs on a Mac: it measures a Core ML package on each compute unit and recommends none that is wrong.

Python 3.10 or newer, numpy, Pillow and coremltools. `cli.py` is where to begin; what needs Core ML runs in `worker.py`.
"""
