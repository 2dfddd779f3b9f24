"""A robot's own program around a model for CPUs: C++, Python and a ROS 2 node, on OpenVINO's or ONNX Runtime's own API."""

from __future__ import annotations

from collections.abc import Mapping

from edgec.backends.robot_code import RobotCode

_LIBRARIES = {"openvino": "openvino::runtime", "onnxruntime": "OnnxRuntimeLibrary"}
"""By runtime, as CMake calls them."""


def cpu_robot_code(runtime: str) -> Mapping[str, RobotCode]:
    """By language; empty for another family's runtime. Raises `EdgecError` if templates are missing from this installation."""
    if runtime not in _LIBRARIES:
        return {}
    python = f"cpu/robot/python/{runtime}"
    return {
        "cpp": RobotCode.cpp(f"cpu/robot/cpp/{runtime}", "cpu/robot/cpp/common", runtime_target=_LIBRARIES[runtime]),
        "python": RobotCode.python(python),
        "ros2": RobotCode.ros2(python),
    }
