"""edgec compiles distilled DINOv3 checkpoints into artefacts that a robot can run, and proves that their features survived."""

from edgec.quiet import stop_telemetry

__version__ = "0.1.0"

stop_telemetry()
del stop_telemetry
