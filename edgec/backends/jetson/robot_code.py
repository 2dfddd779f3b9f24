"""A robot's own program around an engine of TensorRT: C++ on its own API, for Jetsons and for RTX GPUs."""

from __future__ import annotations

from collections.abc import Mapping

from edgec.backends.robot_code import RobotCode

_RUNTIME = "tensorrt"


def tensorrt_robot_code(runtime: str, family: str) -> Mapping[str, RobotCode]:
    """By language; empty for another runtime. `family` is the folder in `targets`. Raises `EdgecError` if templates are missing
    from this installation."""
    return {"cpp": RobotCode.tensorrt(f"{family}/robot/cpp")} if runtime == _RUNTIME else {}
