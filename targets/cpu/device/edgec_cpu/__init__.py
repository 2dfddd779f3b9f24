"""Models in OpenVINO and ONNX Runtime on the CPU of a board: verified with golden frames, measured, and activated.

Python 3.8 and its standard library; the runtime runs in a process of its own, in a Python that has it. The steps are
`edgec_device`'s, which the archive carries.
"""
