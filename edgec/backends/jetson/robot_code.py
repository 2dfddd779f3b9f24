"""A robot's own program around an engine of TensorRT: C++ on its own API, for Jetsons and for RTX GPUs."""

from __future__ import annotations

from collections.abc import Mapping

from edgec.backends.robot_code import RobotCode

_RUNTIME = "tensorrt"


def tensorrt_robot_code(runtime: str, family: str) -> Mapping[str, RobotCode]:
    """By language; empty for another runtime. `family` is the folder in `targets`. Raises `EdgecError` if templates are missing
    from this installation."""
    if runtime != _RUNTIME:
        return {}
    # Isaac ROS's node is TensorRT's, which is on Jetsons; TensorRT-RTX is another library.
    isaac = {"isaac": RobotCode.isaac("jetson/robot/isaac")} if family == "jetson" else {}
    return {"cpp": RobotCode.tensorrt(f"{family}/robot/cpp"), **isaac}
