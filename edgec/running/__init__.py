"""`edgec run`: a folder, a video or a camera through a built artefact here, and what comes out drawn, written and told.

The room has the command's name, so that whoever reads `edgec run` finds it. A source gives shots (`sources`, `camera`), a feed
says when they come and which are too late (`feeds`), `running` puts them through the model, `results` says what heads found,
`painting` draws it, and sinks write it (`features`, `pictures`, `film`). Nothing here needs torch or onnx: it runs on the robot.
"""

from __future__ import annotations

from edgec.running.request import RunRequest
from edgec.running.running import Summary, run

__all__ = ["RunRequest", "Summary", "run"]
