"""`edgec run`: the frames of a folder, a video or a camera through a built artefact on this machine, and the results drawn,
written and printed.

A source yields shots (`sources`, `camera`), a feed decides when they are delivered and which are too late (`feeds`), `running`
puts them through the model, `results` reads the outputs of heads, `painting` draws them, and sinks write them (`features`,
`pictures`, `film`). Nothing here needs torch or onnx: it runs on the robot.
"""

from __future__ import annotations

from edgec.running.request import RunRequest
from edgec.running.running import Summary, run

__all__ = ["RunRequest", "Summary", "run"]
