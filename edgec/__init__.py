"""edgec compiles distilled DINOv3 checkpoints into artefacts that a robot can run, and proves that their features survived."""

import os

__version__ = "0.1.0"

# Importing ONNX Runtime 1.32 puts a device identifier and a database into the user's cache folder, to tell its makers of what it
# is used for: not from a robot, unless its owner says so by setting this to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
