"""Small ROS bags, written by `rosbags`' own writers."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TOPIC = "/camera/image_raw"
BEGIN_NS = 1_760_000_000_000_000_000
SECOND_NS = 1_000_000_000

Kind = Literal["ros1", "db3", "mcap"]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Message:
    """A message, serialised when it is written. Raw bytes in `damage` are written instead."""

    fields: dict[str, Any]
    time_ns: int = BEGIN_NS
    topic: str = TOPIC
    damage: bytes | None = None
    little_endian: bool = True

    @property
    def type(self) -> str:
        return f"sensor_msgs/msg/{'CompressedImage' if 'format' in self.fields else 'Image'}"


def image(data: Bytes, encoding: str, height: int, width: int, *, step: int = 0, big: int = 0, **more: Any) -> Message:
    """`sensor_msgs/Image` of rows of bytes. Without `step`, that of the array."""
    fields = {"height": height, "width": width, "encoding": encoding, "is_bigendian": big, "step": step or data.shape[1]}
    return Message({**fields, "data": np.ascontiguousarray(data).reshape(-1)}, **more)


def rgb(pixels: Bytes, **more: Any) -> Message:
    height, width, _ = pixels.shape
    return image(pixels.reshape(height, -1), "rgb8", height, width, **more)


def compressed(pixels: Bytes | bytes, stated: str = "png", **more: Any) -> Message:
    """`sensor_msgs/CompressedImage`, of pixels in the format that `stated` begins with or of a file's bytes."""
    if isinstance(pixels, bytes):
        data = pixels
    else:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG" if "jpeg" in stated else "PNG")
        data = file.getvalue()
    return Message({"format": stated, "data": np.frombuffer(data, np.uint8)}, **more)


def film(pictures: Iterable[Bytes], step_ns: int = SECOND_NS, **more: Any) -> list[Message]:
    """Pictures in rgb8, one after the other."""
    return [rgb(each, time_ns=BEGIN_NS + number * step_ns, **more) for number, each in enumerate(pictures)]


def write_bag(path: Path, messages: Sequence[Message], kind: Kind | None = None, compression: str = "", pad: int = 0) -> Path:
    """The bag at `path`: a file `.bag`, or a folder, in which the storage file has the folder's name. `compression` is `message`,
    `file` or `storage` (ROS 2), `bz2` or `lz4` (ROS 1). `pad` bytes of another topic go with each message."""
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
    from rosbags.rosbag2 import Writer as Writer2

    ros1 = path.suffix == ".bag"
    store = _types(ros1)
    writer: Any
    if ros1:
        writer = Writer1(path)
        if compression:
            writer.set_compression(Writer1.CompressionFormat[compression.upper()])
    else:
        writer = Writer2(path, version=9, storage_plugin=StoragePlugin[{"db3": "SQLITE3"}.get(kind or "mcap", "MCAP")])
        if compression:
            writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connections: dict[tuple[str, str], Any] = {}

        def connection(topic: str, kind: str) -> Any:
            if (topic, kind) not in connections:
                connections[topic, kind] = writer.add_connection(topic, kind, typestore=store)
            return connections[topic, kind]

        for number, each in enumerate(messages):
            if pad:
                text = store.types["std_msgs/msg/String"]("x" * pad)
                kind_of_text = "std_msgs/msg/String"
                data = _serialised(store, text, kind_of_text, ros1=ros1)
                writer.write(connection("/chatter", kind_of_text), each.time_ns, data)
            writer.write(connection(each.topic, each.type), each.time_ns, each.damage or _message(store, each, number, ros1=ros1))
    return path


@cache
def _types(ros1: bool) -> Any:
    """Made once, since it compiles what writes each type."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)


def storage_of(folder: Path) -> Path:
    """The one storage file in a ROS 2 bag's folder."""
    (file,) = (path for path in folder.iterdir() if path.name != "metadata.yaml")
    return file


def _message(store: Any, message: Message, number: int, *, ros1: bool) -> bytes:
    stamp = store.types["builtin_interfaces/msg/Time"](*divmod(message.time_ns, SECOND_NS))
    sequence = (number,) if ros1 else ()
    header = store.types["std_msgs/msg/Header"](*sequence, stamp=stamp, frame_id="camera")
    made = store.types[message.type](header=header, **message.fields)
    return _serialised(store, made, message.type, ros1=ros1, little_endian=message.little_endian)


def _serialised(store: Any, made: Any, kind: str, *, ros1: bool, little_endian: bool = True) -> bytes:
    if ros1:
        return bytes(store.serialize_ros1(made, kind))
    return bytes(store.serialize_cdr(made, kind, little_endian=little_endian))
