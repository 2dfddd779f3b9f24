"""A machine with an NVIDIA GPU: known by the GPU's compute capability alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgec_device import board as boards
from edgec_device.board import Board
from edgec_device.session import Session
from edgec_onboard.errors import WrongBoard

from edgec_rtx import errors
from edgec_rtx.tool import Runner


class Rtx:
    """See `edgec_device.tool.Family`."""

    program = "edgec-rtx.pyz"
    description = (
        "Runs engines of the artefact that it is part of through NVIDIA's Python packages, on the GPU of this machine. An engine "
        "that does not reproduce the golden features is never activated."
    )
    exit_codes = (errors.__doc__ or "").split("\n", 2)[2]
    option = (
        "--python",
        "PATH",
        "the python of the environment `venv` in --dir, if there is one, else the one that runs this; NVIDIA's packages must be "
        "installed in it",
    )
    patient_with = "NVIDIA's code"
    tries_fp32 = False
    on_cpu = False
    remedy = "install a TensorRT in that range, or build the bundle for this version"
    hidden: Sequence[str] = ("jetpack", "l4t", "power_mode")

    def identify(self, session: Session) -> None:
        """By what CUDA's driver says of the first GPU that it shows."""
        tool = Runner.find(session)
        gpu, bundle = tool.gpu, session.bundle
        board = replace(boards.read_board(session.system), packages=tool.packages)
        session.board, session.tool = boards.named_after(board, gpu.name, session.system), tool
        if session.options.here:
            session.profile = boards.profile_here(gpu.name, gpu.compute_capability, bundle)
            return
        profile = next((each for each in bundle.boards if each.compute_capability == gpu.compute_capability), None)
        if profile is None:
            kinds = ", ".join(f"{each.title} ({each.compute_capability})" for each in bundle.boards)
            raise WrongBoard(
                f"This bundle was built for {kinds}; this is {gpu.name}.",
                evidence=[f"compute capability {gpu.compute_capability}"],
                remedy="build one for this GPU: `edgec targets` lists them; if this machine has several GPUs, choose with "
                "CUDA_VISIBLE_DEVICES",
            )
        session.profile = profile

    def look(self, session: Session) -> dict[str, Any]:
        """TensorRT's version."""
        self.identify(session)
        return {"runtimes": dict(session.tool.versions), "missing": []}

    def describe(self, board: Board) -> str:
        """With the driver's version."""
        return "{}, NVIDIA's driver takes CUDA {}.".format(board.title, board.packages.get("cuda-driver", "(unknown)"))

    def warnings(self, session: Session) -> list[str]:
        """None: whatever has this GPU is such a machine."""
        return []

    def remarks(self, session: Session) -> list[str]:
        """None."""
        return []
