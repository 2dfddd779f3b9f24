"""What the node says on /diagnostics."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from .contract import BUILD_KEY, TARGET, TITLE
from .drift import alarms
from .onboard.keeping import Keeper

_WINDOW = 256
"""Frames that latencies are of."""


class Health:
    """Counts frames, and keeps the latencies of the last ones, in milliseconds: of the node's own work on a frame, and from the
    time in the image's header until the outputs are published. Beside them, the frames' drift scores."""

    def __init__(self, name: str, quiet_s: float) -> None:
        """Without a frame for `quiet_s` seconds, an active node is stale."""
        self._name = name
        self._quiet_s = quiet_s
        self._work: deque[float] = deque(maxlen=_WINDOW)
        self._age: deque[float] = deque(maxlen=_WINDOW)
        self._drift: deque[float] = deque(maxlen=_WINDOW)
        self._frames = self._refused = self._failed = self._alarms = 0
        self._last_frame_s = 0.0
        self._new_refusals = 0
        self._new_alarm = 0.0
        self.checks: tuple[str, ...] = ()
        self.keeper: Keeper | None = None
        self.problem = "not configured"
        """Why there is no model; empty if there is one."""
        self.refusal = ""
        """The last frame's that was refused, or failed."""

    def activated(self, now_s: float) -> None:
        """Frames are expected from now on."""
        self._last_frame_s = now_s

    def frame(self, now_s: float, work_ms: float, age_ms: float, drift: float | None) -> None:
        """A frame whose outputs were published, and its drift score if the artefact can tell."""
        self._frames += 1
        self._last_frame_s = now_s
        self._work.append(work_ms)
        self._age.append(age_ms)
        if drift is not None:
            self._drift.append(drift)
            if alarms(drift):
                self._alarms += 1
                self._new_alarm = max(self._new_alarm, drift)

    def refuse(self, reason: str, *, failed: bool = False) -> None:
        """A frame that is not the model's, or on which the runtime `failed`."""
        self._refused += not failed
        self._failed += failed
        self._new_refusals += 1
        self.refusal = reason

    def message(self, stamp: Any, now_s: float, *, active: bool) -> DiagnosticArray:
        """The state now. Refusals, and frames that are unlike the calibration frames, are warned of once."""
        level, text = DiagnosticStatus.OK, "running" if active else "configured, not active"
        if self.problem:
            level, text = DiagnosticStatus.ERROR, self.problem.partition("\n")[0]
        elif self._new_refusals:
            level, text = DiagnosticStatus.WARN, self.refusal.partition("\n")[0]
            self._new_refusals = 0
        elif self._new_alarm:
            level, text = DiagnosticStatus.WARN, f"unlike the calibration frames: drift {self._new_alarm:.2f}"
            self._new_alarm = 0.0
        elif active and now_s - self._last_frame_s > self._quiet_s:
            level, text = DiagnosticStatus.STALE, "no frames"
        values = {
            "model": TITLE,
            "build key": BUILD_KEY,
            "frames": self._frames,
            "refused": self._refused,
            "failed": self._failed,
        }
        for name, window in (("work", self._work), ("age", self._age)):
            if window:
                slowest = "p99" if len(window) >= 100 else "longest"
                values |= {f"{name} p50 (ms)": _of(window, 0.5), f"{name} {slowest} (ms)": _of(window, 0.99)}
        if self._drift:
            values |= {
                "drift": f"{self._drift[-1]:.6g}",
                "drift largest": f"{max(self._drift):.6g}",
                "drift alarms": self._alarms,
            }
        if self.keeper is not None:
            values |= {"drift frames kept": self.keeper.kept, "drift frames not written": self.keeper.failed}
            if self.keeper.problem:
                values["drift frames' problem"] = self.keeper.problem
        if self.refusal:
            values["last refusal"] = self.refusal
        if self.problem:
            values["problem"] = self.problem
        values |= {f"self-test {index}": check for index, check in enumerate(self.checks)}
        status = DiagnosticStatus(level=level, name=f"{self._name}: model", message=text, hardware_id=TARGET)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = stamp
        return message


def _of(window: deque[float], share: float) -> str:
    """The sample of that rank: no percentile is interpolated."""
    ordered = sorted(window)
    return f"{ordered[max(math.ceil(share * len(ordered) - 1e-9), 1) - 1]:.3f}"
