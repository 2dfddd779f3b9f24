"""Makes the plan for Isaac ROS's node, and compares what it computes of the golden frames with what was recorded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import Error, ExitCode
from .files import artefact_folder
from .model import Model


def main(arguments: Sequence[str] | None = None) -> int:
    """An exit code. A plan that fails is removed."""
    words = argparse.ArgumentParser(prog="make_plan", description="Makes the plan, and prints its path once it passed.")
    words.add_argument("--artefact", type=Path, default=artefact_folder(), help="the folder with the model and the golden frames")
    folder = words.parse_args(arguments).artefact
    try:
        model = Model(folder)
    except Error as error:
        if error.code is ExitCode.VERIFICATION:
            for plan in folder.rglob("*.plan"):
                plan.unlink()
        print(f"make_plan: {error}", file=sys.stderr)
        return int(error.code)
    print(*model.checks, model.runtime.plan, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
