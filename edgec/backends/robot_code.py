"""Templates of a robot's own program, which `edgec code` writes for an artefact.

Which families have them, in which languages, is for their backends to say (`Backend.robot_code`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgec.errors import EdgecError
from edgec.resources import room

_KEEPING = ("files.py", "keeping.py", "ring.py")
"""What keeps frames on a robot."""


@dataclass(frozen=True)
class RobotCode:
    """Templates in one language, for one runtime. A template is looked for in the `folders` in their order, so that a family says
    only what is its own. `runtime_target` is what CMake calls the runtime's library; empty for other languages. `gpu`: the model
    runs on a GPU, whose engine is made on the robot. `planar`: its graph takes float32 planes. `drift`: programs give the drift
    score. `onboard` names modules of `edgec.onboard` that go along."""

    folders: tuple[Path, ...]
    runtime_target: str = ""
    gpu: bool = False
    planar: bool = False
    drift: bool = True
    onboard: tuple[str, ...] = ()

    @classmethod
    def cpp(cls, *folders: str, runtime_target: str) -> RobotCode:
        """C++ with what all families have in common (`targets/robot/cpp`). `folders` are the family's, in `targets`: one has
        `include/NAMESPACE/runtime.hpp.j2`, `_runtime.cmake.j2` and `_runtime.md.j2`. Raises `EdgecError` if one is missing from
        this installation."""
        return cls(_existing(*folders, "robot/cpp"), runtime_target)

    @classmethod
    def tensorrt(cls, folder: str) -> RobotCode:
        """C++ with what NVIDIA's families have in common (`targets/robot/tensorrt`). `folder` is the family's, in `targets`: it
        has `_runtime.cmake.j2`, `_runtime.md.j2`, `_architecture.cmake.j2` and `_network.cpp.j2`. Raises as `cpp`."""
        return cls(_existing(folder, "robot/tensorrt", "robot/cpp"), "TensorRTLibrary", gpu=True)

    @classmethod
    def isaac(cls, folder: str) -> RobotCode:
        """A ROS 2 package that launches Isaac ROS's nodes, with the Python module for its golden frames. `folder` is in
        `targets`. Raises as `cpp`."""
        return cls(_existing(folder, "robot/python/module"), planar=True, onboard=_KEEPING)

    @classmethod
    def swift(cls, folder: str) -> RobotCode:
        """A Swift package, all of which is in `folder`, in `targets`. Raises as `cpp`."""
        return cls(_existing(folder), drift=False)

    @classmethod
    def python(cls, folder: str) -> RobotCode:
        """Python with what all families have in common (`targets/robot/python`). `folder` is the family's, in `targets`: it has
        `NAMESPACE/runtime.py`. Raises as `cpp`."""
        return cls(_existing(folder, "robot/python/project", "robot/python/module"), onboard=_KEEPING)

    @classmethod
    def ros2(cls, folder: str) -> RobotCode:
        """A ROS 2 package around the same Python (`targets/robot/ros2`). `folder` is as for `python`. Raises as `cpp`."""
        return cls(_existing(folder, "robot/ros2", "robot/python/module"), onboard=_KEEPING)


def _existing(*names: str) -> tuple[Path, ...]:
    folders = tuple(room("targets") / name for name in names)
    missing = [path for path in folders if not path.is_dir()]
    if missing:
        raise EdgecError(
            "The templates of robots' programs are missing: the installation is incomplete.",
            evidence=f"looked for {missing[0]}",
            remedy="install edgec, or the package that adds this family, again: from a wheel or from a whole checkout",
        )
    return folders
