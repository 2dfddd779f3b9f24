"""Plays bags to a node and writes down what it answers. Runs in an environment with rclpy: nothing of edgec is here.

player.py PLAN.json

The plan names the project's folder, its package, the bag, a bag of images that must be refused, a folder with a damaged
artefact, and the outputs' topics. Beside the plan: answers.npz, by topic and frame, and heard.json."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image

TOPIC = "/camera/image_raw"
PATIENCE_S = 60
AGAIN_S = 1.0
TYPES = {"32F": np.float32, "32S": np.int32, "mono8": np.uint8}


class Player(Node):
    """Sends one image at a time, and waits for what comes of it."""

    def __init__(self, package: str, topics: list[str]) -> None:
        super().__init__("player")
        self.package = package
        self.answers: dict[tuple[str, int], Image] = {}
        self.status: Any = None
        self.said: set[str] = set()
        self.images = self.create_publisher(Image, TOPIC, 10)
        for topic in topics:
            self.create_subscription(Image, f"/{package}/{topic}", lambda answer, topic=topic: self._keep(topic, answer), 10)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, 10)
        self.topics = topics

    def wait(self, done: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        end = time.monotonic() + patience_s
        while not done() and time.monotonic() < end:
            rclpy.spin_once(self, timeout_sec=0.05)
        return done()

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.create_client(kind, f"/{self.package}/{name}")
        assert self.wait(client.service_is_ready), name
        answer = client.call_async(request)
        assert self.wait(answer.done), name
        return answer.result()

    def state(self) -> str:
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def change(self, transition: int) -> bool:
        return bool(self.call(ChangeState, "change_state", ChangeState.Request(transition=Transition(id=transition))).success)

    def show(self, data: bytes, done: Callable[[], bool]) -> None:
        """As recorded. Again, if the node had not yet heard of all who listen."""
        for _ in range(int(PATIENCE_S / AGAIN_S)):
            self.images.publish(data)
            if self.wait(done, AGAIN_S):
                return
        raise TimeoutError(f"no answer; {self.status}")

    def value(self, key: str) -> str:
        return next((pair.value for pair in self.status.values if pair.key == key), "") if self.status else ""

    def set(self, name: str, text: str) -> None:
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
        self.call(SetParameters, "set_parameters", SetParameters.Request(parameters=[Parameter(name=name, value=value)]))

    def _keep(self, topic: str, answer: Image) -> None:
        self.answers[topic, stamp_of(answer)] = answer

    def _diagnose(self, array: DiagnosticArray) -> None:
        self.status = array.status[0]
        self.said.add(self.status.message)


def stamp_of(image: Image) -> int:
    return int(image.header.stamp.sec * 1_000_000_000 + image.header.stamp.nanosec)


def pixels(image: Image) -> Any:
    """[height, width, channels]; its rows must be packed."""
    kind = next(kind for name, kind in TYPES.items() if image.encoding.startswith(name))
    return np.frombuffer(image.data, kind).reshape(image.height, image.width, -1)


def recorded(bag: str) -> list[bytes]:
    with Reader(bag) as reader:
        return [bytes(data) for _, _, data in reader.messages()]


def play(player: Player, plan: dict[str, Any]) -> dict[str, Any]:
    heard: dict[str, Any] = {"states": [player.state()]}
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        heard["states"].append((player.change(transition), player.state()))
    stamps = []
    for data in recorded(plan["bag"]):
        stamps.append(stamp_of(deserialize_message(data, Image)))
        player.show(data, lambda: all((topic, stamps[-1]) in player.answers for topic in player.topics))
    answers = {topic: [player.answers[topic, stamp] for stamp in stamps] for topic in player.topics}
    heard["encodings"] = {topic: images[0].encoding for topic, images in answers.items()}
    heard["frame_id"] = answers[player.topics[0]][0].header.frame_id
    np.savez(plan["answers"], **{topic: np.stack([pixels(image) for image in images]) for topic, images in answers.items()})
    heard["alarmed"] = player.wait(lambda: any(said.startswith("unlike the calibration frames: drift ") for said in player.said))
    heard["refusals"] = []
    for number, data in enumerate(recorded(plan["refused"]), 1):
        player.show(data, lambda number=number: int(player.value("refused") or 0) >= number)
        heard["refusals"].append(player.value("last refusal"))
    heard["values"] = {pair.key: pair.value for pair in player.status.values}
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        heard["states"].append((player.change(transition), player.state()))
    player.set("artefact", plan["damaged"])
    heard["states"].append((player.change(Transition.TRANSITION_CONFIGURE), player.state()))
    player.wait(lambda: "SHA-256" in player.value("problem"))
    heard["problem"] = [int.from_bytes(player.status.level, "little"), player.status.message, player.value("problem")]
    return heard


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    parameters = [word for text in plan["parameters"] for word in ("-p", text)]
    words = [sys.executable, "-m", f"{plan['package']}.node", "--ros-args", "-r", f"image:={TOPIC}", *parameters]
    with subprocess.Popen(words, cwd=plan["project"]) as node:
        try:
            rclpy.init()
            heard = play(Player(plan["package"], plan["topics"]), plan)
            node.send_signal(signal.SIGINT)
            heard["ended"] = node.wait(20)
            Path(plan["heard"]).write_text(json.dumps(heard))
        finally:
            node.kill()


main()
