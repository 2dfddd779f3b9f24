"""The model's outputs → messages, each with the header of the camera's image.

| output | message |
| --- | --- |
| features, values | `sensor_msgs/Image` in `32FCn`: a pixel a vector, [rows, columns] of them; one vector is 1x1 |
| labels | `sensor_msgs/Image` in `mono8` where the classes are known and at most 256, otherwise `32SC1` |
| logits | `sensor_msgs/Image` in `32FCn`, n classes |
| depth | `sensor_msgs/Image` in `32FC1` |
| scores | `vision_msgs/Classification`, best first; or, on request, as features |
"""

from __future__ import annotations

import sys
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from .errors import Error, ExitCode
from .facts import OutputFacts, Role

MOST_MONO8 = 256
SCORES_AS = ("vision_msgs", "image")


def message_type(facts: OutputFacts, scores_as: str) -> Any:
    """Of an output's topic. Raises `Error` if `vision_msgs` is needed and missing."""
    if facts.role is not Role.SCORES or scores_as == "image":
        return Image
    try:
        from vision_msgs.msg import Classification
    except ImportError as error:
        raise Error(
            ExitCode.REQUEST, f"The scores of {facts.member} cannot be published.", str(error),
            "install vision_msgs (ros-$ROS_DISTRO-vision-msgs), or set the parameter scores_as to image",
        ) from error  # fmt: skip
    return Classification


def message_of(facts: OutputFacts, values: NDArray[Any], header: Any, scores_as: str) -> Any:
    """Of one frame's values, of the shape `facts.shape[1:]`."""
    if facts.role is Role.SCORES and scores_as != "image":
        return _classification(facts, values, header)
    if facts.role is Role.LABELS:
        few = 0 < len(facts.classes) <= MOST_MONO8
        return _image(values[..., None], header, "mono8" if few else "32SC1", np.uint8 if few else np.int32)
    if facts.role is Role.LOGITS:
        values = np.moveaxis(values, 0, -1)
    elif facts.role is Role.DEPTH:
        values = values[..., None]
    return _image(values, header, f"32FC{values.shape[-1]}", np.float32)


def _image(values: NDArray[Any], header: Any, encoding: str, dtype: Any) -> Image:
    """The last axis is the channels, the one before it the columns."""
    shape = (1, 1, *values.shape)
    channels, columns = shape[-1], shape[-2]
    packed = np.ascontiguousarray(values, dtype)
    message = Image(header=header, encoding=encoding, width=columns, height=packed.size // (columns * channels))
    message.step = columns * channels * packed.itemsize
    message.is_bigendian = int(sys.byteorder == "big")
    # An array of bytes is taken as it is; anything else would be looked at byte by byte.
    data = array("B")
    data.frombytes(packed.tobytes())
    message.data = data
    return message


def _classification(facts: OutputFacts, scores: NDArray[Any], header: Any) -> Any:
    from vision_msgs.msg import Classification, ObjectHypothesis

    results = []
    for index in np.argsort(-scores, kind="stable").tolist():
        name = facts.classes[index] if index < len(facts.classes) else str(index)
        results.append(ObjectHypothesis(class_id=name, score=float(scores[index])))
    return Classification(header=header, results=results)
