"""The part of edgec that runs on a Mac: it measures a Core ML package on each compute unit and recommends none that is wrong.

Python 3.10 or newer, numpy, Pillow and coremltools. Start reading at `cli.py`; what needs Core ML runs in `worker.py`.
"""
