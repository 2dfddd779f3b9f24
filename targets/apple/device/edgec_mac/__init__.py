"""Core ML packages on a Mac: verified and measured on each compute unit, and activated with the one that won.

Python 3.8 and its standard library; coremltools runs in processes of its own (`runner`), in a Python that has it. The steps are
`edgec_device`'s, which the archive carries.
"""
