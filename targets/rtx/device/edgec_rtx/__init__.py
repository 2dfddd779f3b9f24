"""The part of edgec that runs on a machine with an NVIDIA GPU, through NVIDIA's own Python packages.

The steps, from receiving a bundle to activating an engine, are those of the program for Jetsons (`edgec_device`, which goes into
the same archive). Here is what differs: which machines it is for (`machine`), and how engines are built and run (`tool`, and
`runner`, which is the only module that loads NVIDIA's code, in a process of its own).
"""
