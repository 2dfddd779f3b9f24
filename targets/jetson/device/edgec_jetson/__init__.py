"""TensorRT engines on a Jetson, built and run by NVIDIA's trtexec.

Python 3.8 and its standard library, because that is what JetPack 5 has. The steps are `edgec_device`'s, which comes along.
"""
