"""The languages in which there may be code. Which of them an artefact's family has, its backend says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LANGUAGES: Final[Mapping[str, str]] = {
    "cpp": "A C++ program with CMake, on the runtime's own C++ API.",
    "swift": "A Swift package, on Core ML.",
    "python": "A Python package, on numpy and the runtime's own Python API.",
    "ros2": "A ROS 2 package with a lifecycle node (rclpy), around the Python package.",
    "isaac": "A ROS 2 package that launches Isaac ROS's TensorRT node with the model.",
}
"""What each gives, by its name. `edgec code` has an option for each."""
