"""The command line."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgec_onboard.errors import ArtefactError, BoardError, UsageError, VerificationFailed, WrongBoard
from edgec_onboard.measurements import NAME, grade
from edgec_onboard.program import folder, guarded, own_artefact
from edgec_onboard.untrusted import printable

from edgec_mac import errors, machine
from edgec_mac.artefact import Artefact, read_artefact
from edgec_mac.errors import CoreMlFailed, from_os_error
from edgec_mac.output import complain, say
from edgec_mac.process import end_workers

UNIT_NAMES = ("cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine", "all")
_INSTALL = "python3 -m pip install coremltools numpy pillow"
_MODULES = ("coremltools", "numpy", "PIL")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code = guarded(lambda: _run(options), lambda error: complain(f"error: {error}"), from_os_error)
    finally:
        end_workers()
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP):
        complain("interrupted; nothing was written")
    return code


def _run(options: argparse.Namespace) -> None:
    mac = machine.look()
    artefact = read_artefact(folder(options.artefact or own_artefact(), "another path"), options.function)
    profile = machine.profile_of(mac, artefact.profiles)
    machine.check(mac, profile, artefact.minimum_macos)
    _check_packages()
    place = _destination(options, artefact)
    with tempfile.TemporaryDirectory(prefix="edgec-mac-") as scratch:
        _measure(options, artefact, mac, profile, place, Path(scratch))


def _measure(
    options: argparse.Namespace, artefact: Artefact, mac: machine.Mac, profile: machine.Profile | None, place: Path, scratch: Path
) -> None:
    # numpy is imported here: what is missing was said by now.
    from edgec_onboard import measurements
    from edgec_onboard.worker import WorkerProblem

    from edgec_mac.measured import Facts, choose, measured, table
    from edgec_mac.measuring import Options, check_coremltools, compile_package, judge_and_measure, units_of

    chosen = Options(options.iterations, options.seconds, options.patience)
    load = os.getloadavg()[0]
    try:
        found = check_coremltools(scratch, chosen.patience)
    except WorkerProblem as problem:
        raise WrongBoard(
            "coremltools cannot reach Core ML here.",
            evidence=[str(problem), f"Python {platform.python_version()}, {platform.machine()}"],
            remedy=f"use a Python that coremltools has a wheel for (9.0: up to 3.13), with: {_INSTALL}",
        ) from None
    doubts = machine.doubts(mac, found["compiled_part"])
    evidence = grade(doubts, is_target=profile is not None)
    size = "x".join(map(str, artefact.input_shape[1:3]))
    function = f", function {printable(artefact.function)}" if artefact.function else ""
    say(f"{printable(artefact.directory.name)}: {artefact.precision} at {size}{function}, every hash right")
    say(f"{mac.brand}, {mac.system}, coremltools {found['versions'].get('coremltools')}: figures are {evidence}")
    compiled, compile_ms = compile_package(artefact, scratch, chosen.patience)
    units = units_of(profile, options.compute_units or ())
    results = judge_and_measure(artefact, units, compiled, scratch, chosen)
    facts = Facts(artefact, mac, profile, evidence, tuple(doubts), found["versions"], compile_ms, load)
    best, reason = choose(results) or (None, "")
    say("")
    say(table(facts, results, best))
    if best is None:
        evidence_lines = [f"{result.unit.name}: {result.problem}" for result in results]
        if any(result.parity for result in results):
            raise VerificationFailed(
                "No compute unit reproduces the golden features and can be measured; nothing was written.",
                evidence=evidence_lines,
                remedy="do not use the package on this machine; send the lines above to edgec's maintainers",
            )
        raise CoreMlFailed(
            "Core ML runs the package on no compute unit; nothing was written.",
            evidence=evidence_lines,
            remedy="update macOS; if that does not help, send the lines above to edgec's maintainers",
        )
    if read_artefact(artefact.directory, options.function) != artefact:
        raise ArtefactError(
            "The artefact has changed since it was verified; nothing was written.",
            evidence=[f"its manifest had SHA-256 {artefact.sha256}"],
            remedy="let nothing write there, and run this program again",
        )
    said = measured(facts, results, best, reason)
    measurements.write(place, said)
    say(str(said["reason"]))
    say(f"measurements: {place}")


def _destination(options: argparse.Namespace, artefact: Artefact) -> Path:
    """Where the measurements will be, asked before minutes of work. Raises `ArtefactError` if some are there, `UsageError` for a
    place in the artefact itself, whose manifest does not know of it."""
    beside = artefact.directory.with_name(f"{artefact.directory.name}.mac")
    beside = folder(options.output, "-o") if options.output else beside
    if Path(os.path.realpath(beside)).is_relative_to(os.path.realpath(artefact.directory)):
        raise UsageError(
            "Measurements cannot lie in the artefact.", evidence=[str(beside)], remedy="choose another folder with -o"
        )
    place = beside / NAME
    if os.path.lexists(place) and not options.force:
        raise ArtefactError(
            "There are measurements already.",
            evidence=[str(place)],
            remedy="choose another folder with -o, or replace it with --force",
        )
    if place.is_dir() or (os.path.lexists(beside) and not beside.is_dir()):
        raise ArtefactError("The measurements' place is taken.", evidence=[str(beside)], remedy="choose another folder with -o")
    nearest = next(parent for parent in (beside, *beside.parents) if os.path.lexists(parent))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise BoardError(
            "Measurements cannot be written.", evidence=[f"{nearest} is not writable"], remedy="choose a folder with -o"
        )
    return place


def _check_packages() -> None:
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise WrongBoard(
            "This program needs Python packages that are not installed.",
            evidence=[f"missing: {', '.join(missing)}", f"looked for by {sys.executable}"],
            remedy=_INSTALL,
        )


def _parser() -> argparse.ArgumentParser:
    codes = (errors.__doc__ or "").split("\n", 2)[2]
    parser = argparse.ArgumentParser(
        prog="edgec-mac.pyz",
        description="Measures the Core ML package of the artefact it lies in on each compute unit of this Mac, having compared "
        "its features, and what its heads decide, with the golden ones. A compute unit that does not reproduce them is not "
        "measured and never recommended.",
        epilog="exit codes:\n    0  done\n" + codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("artefact", nargs="?", metavar="ARTEFACT", help="default: the one that this program lies in")
    parser.add_argument("-o", "--output", metavar="DIR", help="where measurements.json goes (default: ARTEFACT.mac, beside it)")
    parser.add_argument("--force", action="store_true", help="replace measurements that are there")
    parser.add_argument("--function", metavar="NAME", help="of a package with several functions (default: the package's own)")
    parser.add_argument(
        "--compute-units", action="append", choices=UNIT_NAMES, metavar="NAME", help=f"only these: {', '.join(UNIT_NAMES)}"
    )
    parser.add_argument("--iterations", type=_whole, default=100, metavar="N", help="recorded runs of each (default: 100)")
    parser.add_argument(
        "--seconds", type=_positive, default=60.0, metavar="S", help="stop one after so long, with 20 runs at least (default: 60)"
    )
    parser.add_argument(
        "--patience", type=_positive, default=600.0, metavar="S", help="end Core ML after so long a silence (default: 600)"
    )
    return parser


def _whole(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text) or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number of 1 or more")
    return int(text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
