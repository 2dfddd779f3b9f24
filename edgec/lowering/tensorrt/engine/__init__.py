"""Engines on this machine's own GPU: `host` runs the program that the artefact carries for its boards, and finds it a trtexec.

Where there is no trtexec but the `tensorrt` package, `python -m edgec.lowering.tensorrt.engine` stands in its place. It answers
those of trtexec's options that the program uses, prints and writes in trtexec's formats, and says that it is not NVIDIA's.
"""
