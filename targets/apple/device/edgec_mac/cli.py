"""The command line."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgec_onboard.errors import ArtefactError, BoardError, UsageError, VerificationFailed, WrongBoard
from edgec_onboard.measurements import NAME, grade
from edgec_onboard.program import enclosing_artefact, folder, run_guarded, seconds_up_to, whole_number_up_to
from edgec_onboard.untrusted import printable

from edgec_mac import errors, machine
from edgec_mac.artefact import Artefact, read_artefact
from edgec_mac.errors import CoreMlFailed, from_os_error
from edgec_mac.output import print_error, print_line
from edgec_mac.process import end_workers

UNIT_NAMES = ("cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine", "all")
_INSTALL = "python3 -m pip install coremltools numpy pillow"
_MODULES = ("coremltools", "numpy", "PIL")
_MOST_ITERATIONS = 1_000_000
_MOST_SECONDS = 1e9


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code = run_guarded(lambda: _run(options), lambda error: print_error(f"error: {error}"), from_os_error)
    finally:
        end_workers()
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP):
        print_error("interrupted; nothing was written")
    return code


def _run(options: argparse.Namespace) -> None:
    mac = machine.look()
    artefact = read_artefact(folder(options.artefact or enclosing_artefact(), "another path"), options.function)
    profile = machine.profile_of(mac, artefact.profiles)
    machine.check(mac, profile, artefact.minimum_macos)
    _check_packages()
    destination = _destination(options, artefact)
    with tempfile.TemporaryDirectory(prefix="edgec-mac-") as scratch:
        _measure(options, artefact, mac, profile, destination, Path(scratch))


def _measure(
    options: argparse.Namespace,
    artefact: Artefact,
    mac: machine.Mac,
    profile: machine.Profile | None,
    destination: Path,
    scratch: Path,
) -> None:
    # These modules need numpy: missing packages have been reported by now.
    from edgec_onboard import measurements
    from edgec_onboard.worker import WorkerProblem

    from edgec_mac.measured import Facts, as_fields, choose, table
    from edgec_mac.measuring import Options, check_coremltools, compile_package, judge_and_measure, units_of

    chosen = Options(options.iterations, options.seconds, options.patience)
    load = os.getloadavg()[0]
    try:
        coremltools = check_coremltools(scratch, chosen.patience)
    except WorkerProblem as problem:
        raise WrongBoard(
            "coremltools cannot use Core ML here.",
            evidence=[str(problem), f"Python {platform.python_version()}, {platform.machine()}"],
            remedy=f"use a Python that coremltools has a wheel for (9.0: up to 3.13), with: {_INSTALL}",
        ) from None
    doubts = machine.doubts(mac, coremltools["compiled_part"])
    versions = coremltools["versions"]
    evidence = grade(doubts, is_target=profile is not None)
    size = "x".join(map(str, artefact.input_shape[1:3]))
    function = f", function {printable(artefact.function)}" if artefact.function else ""
    print_line(f"{printable(artefact.directory.name)}: {artefact.precision} at {size}{function}, every hash is right")
    print_line(f"{mac.brand}, {mac.system}, coremltools {versions.get('coremltools')}: figures are {evidence}")
    compiled, compile_ms = compile_package(artefact, scratch, chosen.patience)
    units = units_of(profile, options.compute_units or ())
    results = judge_and_measure(artefact, units, compiled, scratch, chosen)
    facts = Facts(artefact, mac, profile, evidence, tuple(doubts), versions, compile_ms, load)
    best, reason = choose(results) or (None, "")
    print_line("")
    print_line(table(facts, results, best))
    if best is None:
        evidence_lines = [f"{result.unit.name}: {result.problem}" for result in results]
        if any(result.parity for result in results):
            raise VerificationFailed(
                "No compute unit reproduces the golden features and can be measured; nothing was written.",
                evidence=evidence_lines,
                remedy="do not use the package on this machine; send these lines to edgec's maintainers",
            )
        raise CoreMlFailed(
            "Core ML runs the package on no compute unit; nothing was written.",
            evidence=evidence_lines,
            remedy="update macOS; if that does not help, send these lines to edgec's maintainers",
        )
    if read_artefact(artefact.directory, options.function) != artefact:
        raise ArtefactError(
            "The artefact has changed since it was verified; nothing was written.",
            evidence=[f"its manifest had SHA-256 {artefact.sha256}"],
            remedy="make sure that nothing writes there, and run this program again",
        )
    measurements.write(destination, as_fields(facts, results, best, reason))
    print_line(reason)
    print_line(f"measurements: {destination}")


def _destination(options: argparse.Namespace, artefact: Artefact) -> Path:
    """Where the measurements will be written, checked before minutes of work. Raises `ArtefactError` if there are some already,
    `UsageError` for a folder in the artefact itself, whose manifest does not list them."""
    default = artefact.directory.with_name(f"{artefact.directory.name}.mac")
    parent = folder(options.output, "-o") if options.output else default
    if Path(os.path.realpath(parent)).is_relative_to(os.path.realpath(artefact.directory)):
        raise UsageError(
            "Measurements cannot be written into the artefact.", evidence=[str(parent)], remedy="choose another folder with -o"
        )
    path = parent / NAME
    if os.path.lexists(path) and not options.force:
        raise ArtefactError(
            "There are measurements already.",
            evidence=[str(path)],
            remedy="choose another folder with -o, or replace them with --force",
        )
    if path.is_dir() or (os.path.lexists(parent) and not parent.is_dir()):
        raise ArtefactError(
            "Something else is where the measurements would be.", evidence=[str(parent)], remedy="choose another folder with -o"
        )
    nearest = next(folder for folder in (parent, *parent.parents) if os.path.lexists(folder))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise BoardError(
            "Measurements cannot be written.", evidence=[f"{nearest} is not writable"], remedy="choose a folder with -o"
        )
    return path


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
        description="Measures the Core ML package of the artefact that it is part of on each compute unit of this Mac, after "
        "comparing its features, and what its heads decide, with the golden ones. A compute unit that does not reproduce them is "
        "not measured and never recommended.",
        epilog="exit codes:\n    0  done\n" + codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("artefact", nargs="?", metavar="ARTEFACT", help="default: the one that this program is part of")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder for measurements.json (default: ARTEFACT.mac, beside it)")
    parser.add_argument("--force", action="store_true", help="replace existing measurements")
    parser.add_argument("--function", metavar="NAME", help="of a package with several functions (default: the package's default)")
    parser.add_argument(
        "--compute-units", action="append", choices=UNIT_NAMES, metavar="NAME", help=f"only these: {', '.join(UNIT_NAMES)}"
    )
    duration = seconds_up_to(_MOST_SECONDS)
    parser.add_argument(
        "--iterations",
        type=whole_number_up_to(_MOST_ITERATIONS),
        default=100,
        metavar="N",
        help="recorded runs of each unit (default: 100)",
    )
    parser.add_argument(
        "--seconds", type=duration, default=60.0, metavar="S", help="stop a unit after S s and at least 20 runs (default: 60)"
    )
    parser.add_argument(
        "--patience", type=duration, default=600.0, metavar="S", help="end Core ML after S seconds of silence (default: 600)"
    )
    return parser
