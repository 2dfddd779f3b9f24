"""An app's or a robot's own code around a package of Core ML: Swift."""

from __future__ import annotations

from collections.abc import Mapping

from edgec.backends.robot_code import RobotCode


def apple_robot_code(runtime: str) -> Mapping[str, RobotCode]:
    """By language; empty for another runtime. Raises `EdgecError` if templates are missing from this installation."""
    return {"swift": RobotCode.swift("apple/robot/swift")} if runtime == "coreml" else {}
