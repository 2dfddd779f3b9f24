"""The part of edgec that runs on the robot: it makes TensorRT engines of a bundle and lets none run that it has not verified.

Python 3.8 or newer and its standard library, because that is all that a stock JetPack has. `cli.py` is where to begin.
"""
