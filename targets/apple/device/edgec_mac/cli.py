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
import traceback
from collections.abc import Sequence
from pathlib import Path

from edgec_mac import errors, machine
from edgec_mac.artefact import Artefact, read_artefact
from edgec_mac.errors import (
    ArtefactError,
    CoreMlFailed,
    Interrupted,
    MacError,
    UsageError,
    VerificationFailed,
    WrongMachine,
    from_os_error,
)
from edgec_mac.process import end_workers
from edgec_mac.text import complain, printable, say

BUG = 70
UNIT_NAMES = ("cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine", "all")
_INSTALL = "python3 -m pip install coremltools numpy pillow"
_MODULES = ("coremltools", "numpy", "PIL")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = _parser().parse_args(arguments)
    code = BUG
    try:
        for signum in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as nohup does with SIGHUP
                signal.signal(signum, _interrupt)
        _run(options)
        code = 0
    except MacError as error:
        code = error.exit_code
        complain(f"error: {error}")
    except BrokenPipeError:
        # Whoever listened is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    except OSError as error:
        refusal = from_os_error(error)
        code = refusal.exit_code
        complain(f"error: {refusal}")
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except Interrupted as interruption:
        code = interruption.exit_code
    except Exception:
        traceback.print_exc()
        complain("This is a bug in edgec: please report it, with the lines above.")
    finally:
        end_workers()
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP):
        complain("interrupted; no report was written")
    return code


def _run(options: argparse.Namespace) -> None:
    mac = machine.look()
    artefact = read_artefact(_folder(options.artefact or _own_artefact()), options.function)
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
    from edgec_mac.measuring import Options, check_coremltools, compile_package, judge_and_measure, units_of
    from edgec_mac.process import WorkerProblem
    from edgec_mac.report import Facts, choose, make_report, table, write_report

    chosen = Options(options.iterations, options.seconds, options.patience)
    load = os.getloadavg()[0]
    try:
        found = check_coremltools(scratch, chosen.patience)
    except WorkerProblem as problem:
        raise WrongMachine(
            "coremltools cannot reach Core ML here.",
            evidence=[str(problem), f"Python {platform.python_version()}, {platform.machine()}"],
            remedy=f"use a Python that coremltools has a wheel for (9.0: up to 3.13), with: {_INSTALL}",
        ) from None
    doubts = machine.doubts(mac, found["compiled_part"])
    evidence = machine.grade(doubts, profile)
    size = "x".join(map(str, artefact.input_shape[1:3]))
    function = f", function {printable(artefact.function)}" if artefact.function else ""
    say(f"{printable(artefact.directory.name)}: {artefact.precision} at {size}{function}, every hash right")
    say(f"{mac.brand}, {mac.system}, coremltools {found['versions'].get('coremltools')}: figures are {evidence}")
    compiled, compile_ms = compile_package(artefact, scratch, chosen.patience)
    units = units_of(profile, options.compute_units or ())
    results = judge_and_measure(artefact, units, compiled, scratch, chosen)
    facts = Facts(artefact, mac, profile, evidence, tuple(doubts), found["versions"], compile_ms, load)
    best = choose(results)
    say("")
    say(table(facts, results, best))
    if best is None:
        evidence_lines = [f"{result.unit.name}: {result.problem}" for result in results]
        if any(result.parity for result in results):
            raise VerificationFailed(
                "No compute unit reproduces the golden features and can be measured; there is no report.",
                evidence=evidence_lines,
                remedy="do not use the package on this machine; send the lines above to edgec's maintainers",
            )
        raise CoreMlFailed(
            "Core ML runs the package on no compute unit; there is no report.",
            evidence=evidence_lines,
            remedy="update macOS; if that does not help, send the lines above to edgec's maintainers",
        )
    if read_artefact(artefact.directory, options.function) != artefact:
        raise ArtefactError(
            "The artefact has changed since it was verified; there is no report.",
            evidence=[f"its manifest had SHA-256 {artefact.sha256}"],
            remedy="let nothing write there, and run this program again",
        )
    report = make_report(facts, results, best)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_report(place, report)
    say(str(report["reason"]))
    say(f"report: {place}")


def _destination(options: argparse.Namespace, artefact: Artefact) -> Path:
    """Where the report will be, asked before minutes of work. Raises `ArtefactError` if one is there, `UsageError` for a place in
    the artefact itself, whose manifest does not know of it."""
    folder = artefact.directory.with_name(f"{artefact.directory.name}.mac")
    folder = _folder(options.output) if options.output else folder
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(artefact.directory)):
        raise UsageError("The report cannot lie in the artefact.", evidence=[str(folder)], remedy="choose another folder with -o")
    place = folder / "report.json"
    if os.path.lexists(place) and not options.force:
        raise ArtefactError(
            "There is a report already.",
            evidence=[str(place)],
            remedy="choose another folder with -o, or replace it with --force",
        )
    if place.is_dir() or (os.path.lexists(folder) and not folder.is_dir()):
        raise ArtefactError("The report's place is taken.", evidence=[str(folder)], remedy="choose another folder with -o")
    nearest = next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise MacError("The report cannot be written.", evidence=[f"{nearest} is not writable"], remedy="choose a folder with -o")
    return place


def _check_packages() -> None:
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise WrongMachine(
            "This program needs Python packages that are not installed.",
            evidence=[f"missing: {', '.join(missing)}", f"looked for by {sys.executable}"],
            remedy=_INSTALL,
        )


def _folder(text: str) -> Path:
    """Raises `UsageError` for what is no path here: nobody of that name, a NUL, a name that is too long."""
    try:
        path = Path(text).expanduser().absolute()
        path.exists()
    except PermissionError:
        return path
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(
            f"There can be no folder {printable(text)[:60]!r} here.", evidence=[printable(str(error))[:200]]
        ) from error
    return path


def _own_artefact() -> str:
    """The artefact that this program lies in: its archive is ARTEFACT/device/edgec-mac.pyz."""
    return str(Path(sys.argv[0]).resolve().parent.parent)


def _interrupt(signum: int, frame: object) -> None:
    raise Interrupted(signum)


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
    parser.add_argument("-o", "--output", metavar="DIR", help="where report.json goes (default: ARTEFACT.mac, beside it)")
    parser.add_argument("--force", action="store_true", help="replace a report that is there")
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
