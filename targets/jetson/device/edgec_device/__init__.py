"""The part of edgec that runs on the robot: it builds TensorRT engines of a bundle and activates none that it has not verified.

Python 3.8 or newer and its standard library, because that is all that a stock JetPack has. Start reading at `cli.py`.
"""
