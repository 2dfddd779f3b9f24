"""Engines on this machine's own GPU: `host` runs the program that the artefact holds for its boards, and finds a trtexec for it.

If there is no trtexec but the `tensorrt` package, `python -m edgec.lowering.tensorrt.engine` replaces it. It understands those of
trtexec's options that the program uses, prints and writes in trtexec's formats, and says that it is not NVIDIA's.
"""
