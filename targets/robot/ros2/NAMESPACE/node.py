"""The model as a lifecycle node. An example to begin with: it is yours to change.

Configuring checks the files and runs the golden frames: a node that is not sure of its model cannot be activated. Only an active
node subscribes to images. It takes the newest one when it is done with another; older ones are dropped."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from .contract import GOLDEN, NAME, OUTPUTS, TITLE
from .drift import alarms, open_keeper
from .errors import Error, ExitCode
from .facts import OutputFacts
from .files import artefact_folder
from .fit import fit
from .health import Health
from .images import to_rgb
from .messages import SCORES_AS, message_of, message_type
from .model import Model
from .onboard.keeping import Keeper
from .onboard.ring import FRAMES, MEGABYTES
from .runtime import Runtime

CROPS = ("centre", "resize", "pad", "refuse")
RELIABILITIES = ("best_effort", "reliable")
_SAY_AGAIN_S = 5.0
_PUBLISHED_DEPTH = 5


class ModelNode(LifecycleNode):
    """Subscribes to `image`, publishes every output that has subscribers on `~/OUTPUT`, and `/diagnostics`. Parameters are read
    when the node is configured. It is a node as any other: an executor of your own can have it beside others in one process."""

    def __init__(self, name: str = NAME, **options: Any) -> None:
        super().__init__(name, **options)
        self.declare_parameter("artefact", "")
        self.declare_parameter("threads", 0)
        self.declare_parameter("crop", "centre")
        self.declare_parameter("scores_as", "vision_msgs")
        self.declare_parameter("outputs", [""])
        self.declare_parameter("reliability", "best_effort")
        self.declare_parameter("depth", 1)
        self.declare_parameter("quiet_s", 2.0)
        self.declare_parameter("diagnostics_period_s", 1.0)
        self.declare_parameter("drift_frames", "")
        self.declare_parameter("drift_frames_most", FRAMES)
        self.declare_parameter("drift_frames_mb", MEGABYTES)
        self.declare_parameter("autostart", False)
        self._model: Model | None = None
        self._keeper: Keeper | None = None
        self._outputs: list[tuple[OutputFacts, Any]] = []
        self._images: Any = None
        self._quality = QoSProfile(depth=1)
        self._crop = self._scores_as = ""
        self._health = Health(name, float(self._value("quiet_s")))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(float(self._value("diagnostics_period_s")), self._report)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Checks files and machine. Fails, and says why, if either is not right."""
        try:
            self._configure()
        except Exception as error:  # rclpy would drop one of another kind without a word
            self._forget()
            self._health.problem = str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
            self.get_logger().error(self._health.problem)
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes."""
        result = super().on_activate(state)
        self._health.activated(time.monotonic())
        self._images = self.create_subscription(Image, "image", self._image, self._quality)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Takes no more images."""
        self._unsubscribe()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forgets the model."""
        self._forget()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state."""
        self._forget()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error in a transition the node can be configured again."""
        self._forget()
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        self._crop = self._choice("crop", CROPS)
        self._scores_as = self._choice("scores_as", SCORES_AS)
        policy = ReliabilityPolicy[self._choice("reliability", RELIABILITIES).upper()]
        self._quality = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=int(self._value("depth")), reliability=policy)
        chosen = self._chosen()
        types = [message_type(facts, self._scores_as) for facts in chosen]
        self._model = Model(self._value("artefact") or artefact_folder(), threads=int(self._value("threads")))
        if folder := str(self._value("drift_frames")):
            most, megabytes = int(self._value("drift_frames_most")), float(self._value("drift_frames_mb"))
            self._keeper = self._health.keeper = open_keeper(Path(folder), most, megabytes)
        for facts, kind in zip(chosen, types, strict=True):
            # Reliable publishers suit subscribers of both sorts.
            self._outputs.append((facts, self.create_lifecycle_publisher(kind, f"~/{facts.member}", _PUBLISHED_DEPTH)))
        self._health.problem, self._health.checks = "", tuple(map(str, self._model.checks))
        self.get_logger().info(f"ready: {TITLE} (here {Runtime.version()}), {GOLDEN.count} golden frames as recorded")

    def _image(self, message: Image) -> None:
        started = time.monotonic()
        assert self._model is not None
        try:
            frame = to_rgb(message)
            outputs = self._model.run(frame if self._crop == "refuse" else fit(frame, self._crop))  # type: ignore[arg-type]
        except Error as error:
            self._health.refuse(str(error), failed=error.code is not ExitCode.FRAMES)
            self.get_logger().warning(str(error), throttle_duration_sec=_SAY_AGAIN_S)
            return
        for facts, publisher in self._outputs:
            if publisher.get_subscription_count():
                values = getattr(outputs, facts.member)[0]
                publisher.publish(message_of(facts, values, message.header, self._scores_as))
        drift = self._model.drift(outputs)
        ended = time.monotonic()
        stamp = message.header.stamp
        age_ns = self.get_clock().now().nanoseconds - (stamp.sec * 1_000_000_000 + stamp.nanosec)
        self._health.frame(ended, 1000 * (ended - started), age_ns / 1e6, drift)
        if self._keeper is not None:
            if drift is not None and alarms(drift):
                source = f"{message.header.frame_id} {stamp.sec}.{stamp.nanosec:09}"
                self._keeper.offer(frame, drift, source, started)
            if news := self._keeper.news():
                self.get_logger().warning(news)

    def _report(self) -> None:
        now = self.get_clock().now().to_msg()
        self._diagnostics.publish(self._health.message(now, time.monotonic(), active=self._images is not None))

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = str(self._value(name))
        if value not in choices:
            raise Error(ExitCode.REQUEST, f"The parameter {name} is {value!r}.", remedy=f"it is one of {', '.join(choices)}")
        return value

    def _chosen(self) -> list[OutputFacts]:
        """The outputs of the parameter `outputs`; without any, all."""
        names = [name for name in self._value("outputs") if name]
        unknown = set(names) - {facts.member for facts in OUTPUTS}
        if unknown:
            raise Error(
                ExitCode.REQUEST, f"The model has no output {', '.join(sorted(unknown))}.",
                f"it has {', '.join(facts.member for facts in OUTPUTS)}", "look at the parameter outputs",
            )  # fmt: skip
        return [facts for facts in OUTPUTS if facts.member in names or not names]

    def _unsubscribe(self) -> None:
        if self._images is not None:
            self.destroy_subscription(self._images)
            self._images = None

    def _forget(self) -> None:
        self._unsubscribe()
        for _, publisher in self._outputs:
            self.destroy_publisher(publisher)
        self._outputs = []
        self._model = None
        if self._keeper is not None:
            self._keeper.close()
        self._keeper = self._health.keeper = None
        self._health.problem = "not configured"


def main(arguments: list[str] | None = None) -> int:
    """Spins until the process is told to end. With the parameter `autostart`, the node configures and activates itself."""
    rclpy.init(args=arguments)
    try:
        node = ModelNode()
        if node.get_parameter("autostart").value and node.trigger_configure() is TransitionCallbackReturn.SUCCESS:
            node.trigger_activate()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
