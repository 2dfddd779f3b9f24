"""The command line's commands and options."""

from __future__ import annotations

import argparse
import os

from edgec_onboard.program import seconds_up_to, whole_number_up_to

from edgec_device.keys import FOLDER, SYSTEM
from edgec_device.tool import Family

_MOST_SECONDS = 24 * 3600
_MOST_ITERATIONS = 1_000_000
STEPS = {
    "look": "say what machine this is and which runtimes it has; change nothing",
    "check": "check the bundle's signature, files, age and form; change nothing",
    "preflight": "check board, runtime, disk, memory, power mode and bundle; change nothing",
    "install": "copy the bundle under --dir",
    "build": "build an engine for each variant; existing ones are kept",
    "verify": "run the golden frames through the engines and compare the features",
    "bench": "measure the engines that are verified",
    "activate": "point `current` at the fastest verified engine",
    "rollback": "point `current` at the previous engine",
    "status": "show what is active, what was active before, and why",
    "run-all": "everything from preflight to activate; continues after an interruption",
    "update": "write down what is active, then run-all: for tools that update whole systems",
    "health": "run the golden frames through the active engine once more",
    "commit": "health, then forget what was active before the update",
    "undo": "go back to what was active before the update",
}
INSTALLED = ("health", "commit", "undo")
"""Commands about what is active, whichever bundle that came with."""


def default_root() -> str:
    """Where everything is installed unless --dir says otherwise."""
    return "{}/edgec".format(os.environ.get("XDG_DATA_HOME") or "~/.local/share")


def parser(family: Family) -> argparse.ArgumentParser:
    """For the program of this family."""
    (option, takes, default), duration = family.option, seconds_up_to(_MOST_SECONDS)
    arguments = argparse.ArgumentParser(
        prog=family.program,
        description=family.description,
        epilog="exit codes:\n   0  done\n" + family.exit_codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = arguments.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in STEPS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_argument(  # --dir as in `edgec deploy`; --root is its old name
            "--dir", "--root", dest="root", metavar="DIR", help="where everything is installed (default: ~/.local/share/edgec)"
        )
        command.add_argument(
            "--bundle",
            metavar="PATH",
            help="the artefact's folder, or a .edgec-bundle (default: the artefact that this program is part of, or the active "
            "one); `-` is for `edgec deploy`",
        )
        command.add_argument("--name", default="", metavar="NAME", help="which one, if several are installed and none is given")
        command.add_argument(
            "--trust",
            action="append",
            metavar="FILE",
            help=f"a public key or certificate in PEM, besides those in {SYSTEM} or DIR/{FOLDER}; may be given more than once. "
            "With a key, only what its holder signed is taken",
        )
        command.add_argument(
            "--allow-older", action="store_true", help="take a signed release that is older than the active one, or another's"
        )
        command.add_argument("--signed", action="store_true", help=argparse.SUPPRESS)  # for `edgec deploy`
        command.add_argument(option, dest="tool", metavar=takes, help=f"default: {default}")
        command.add_argument(
            "--here",
            action="store_true",
            help="use this machine, whatever board it is: no figure is then called `measured on target`",
        )
        command.add_argument("--json", action="store_true", help="print one JSON event per line, for programs")
        command.add_argument("--no-wait", action="store_true", help="give up if another run uses this folder")
        command.add_argument(
            "--patience",
            type=duration,
            default=900.0,
            metavar="S",
            help=f"end {family.patient_with} after S seconds of silence (default: 900)",
        )
        command.add_argument("--variant", action="append", metavar="NAME", help="only this variant; may be given more than once")
        command.add_argument("--function", metavar="NAME", help="of a model for several sizes of frames (default: its first)")
        command.add_argument(
            "--again", action="store_true", help="verify and measure again, and build again what failed verification"
        )
        command.add_argument("--seconds", type=duration, default=10.0, metavar="S", help="measure at least S s (default: 10)")
        command.add_argument(
            "--iterations",
            type=whole_number_up_to(_MOST_ITERATIONS),
            default=200,
            metavar="N",
            help="measure at least N runs (default: 200)",
        )
    return arguments
