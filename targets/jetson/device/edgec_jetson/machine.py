"""A Jetson: its modules are known by the device tree, and trtexec builds and runs their engines."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Sequence

from edgec_device import board as boards
from edgec_device import errors
from edgec_device.board import Board
from edgec_device.session import Session

from edgec_jetson.steps import TrtexecSteps
from edgec_jetson.trtexec import Trtexec


class Jetson:
    """See `edgec_device.tool.Family`."""

    program = "edgec-device.pyz"
    description = (
        "Builds TensorRT engines of the artefact that it is part of, on the board that will run them. An engine that "
        "does not reproduce the golden features is never activated."
    )
    exit_codes = (errors.__doc__ or "").split("\n", 2)[2]
    option = ("--trtexec", "PATH", "/usr/src/tensorrt/bin/trtexec, then the PATH")
    patient_with = "trtexec"
    tries_fp32 = False
    on_cpu = False
    remedy = "flash a JetPack whose TensorRT is in that range, or build the bundle for this version"
    hidden: Sequence[str] = ()

    def identify(self, session: Session) -> None:
        """From the device tree, and from what trtexec says of the GPU."""
        here, bundle = session.options.here, session.bundle
        session.board = boards.read_board(session.system)
        if not here:
            session.profile = boards.profile_of(session.board, bundle)
        trtexec = Trtexec.find(session.options.tool, session.system, session.output, session.options.patience)
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            trtexec.probe(Path(folder))
        session.tool = TrtexecSteps(trtexec)
        gpu = trtexec.gpu
        if here:
            session.board = boards.named_after(session.board, gpu.name, session.system)
            session.profile = boards.profile_here(gpu.name, gpu.compute_capability, bundle)
        elif gpu.compute_capability != session.profile.compute_capability:
            raise boards.wrong_gpu(gpu.name, gpu.compute_capability, session.profile)

    def look(self, session: Session) -> dict[str, Any]:
        """TensorRT's version."""
        self.identify(session)
        return {"runtimes": dict(session.tool.versions), "missing": []}

    def describe(self, board: Board) -> str:
        """With its JetPack."""
        return "{}, JetPack {} (Jetson Linux {}).".format(board.title, board.jetpack or "unknown", board.l4t or "unknown")

    def warnings(self, session: Session) -> list[str]:
        """A JetPack that the profile does not list."""
        if boards.jetpack_listed(session.board, session.profile):
            return []
        return ["edgec does not know JetPack {} for this board.".format(session.board.jetpack or "(unknown)")]

    def remarks(self, session: Session) -> list[str]:
        """None."""
        return []
