"""What is counted: `frames.py REQUEST`, under emulation. It runs each model on one frame, once unmarked and then with a mark
around each run.

REQUEST: {"models": [LoweredModel], "frames": PATH of uint8 [1, H, W, 3], "runs": N}. Mark `1000 * model + run` is before a run,
and `1000 * model + N` behind the last.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from pathlib import Path

import numpy as np

from edgec.lowering import registry
from edgec.lowering.base import LoweredModel

MARK = 25957


def main(path: Path) -> None:
    request = json.loads(path.read_text())
    mark, frames = ctypes.CDLL(None).getpriority, np.load(request["frames"])
    for index, facts in enumerate(request["models"]):
        model = LoweredModel.from_json(facts)
        # One thread: others would spin while they wait, and what they execute then is no work.
        runner = registry.get(model.runtime).load(model, threads=1)
        runner(frames)
        gc.disable()
        for run in range(request["runs"]):
            mark(MARK, 1000 * index + run)
            runner(frames)
        mark(MARK, 1000 * index + request["runs"])
        gc.enable()
        del runner


if __name__ == "__main__":
    main(Path(sys.argv[1]))
