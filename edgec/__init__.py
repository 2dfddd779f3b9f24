"""edgec compiles distilled DINOv3 checkpoints into artefacts that a robot can run, and proves that their features survived."""

__version__ = "0.1.0"
