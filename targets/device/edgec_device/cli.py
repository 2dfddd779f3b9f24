"""The command line: one command a step, and run-all."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from typing import Any, Callable, Sequence

from edgec_onboard.errors import BoardError, Interrupted, UsageError, VerificationFailed
from edgec_onboard.program import enclosing_artefact, folder, run_guarded, seconds_up_to, whole_number_up_to

from edgec_device import activation, measured, seal
from edgec_device.activation import Choice
from edgec_device.bench import bench
from edgec_device.build import build
from edgec_device.bundle import Bundle, Variant, read_bundle
from edgec_device.cleaning import clean
from edgec_device.errors import NothingToDo, from_os_error
from edgec_device.files import lock
from edgec_device.install import board_facts, install, look, preflight
from edgec_device.output import Output
from edgec_device.receive import receive
from edgec_device.session import Engine, Options, Session
from edgec_device.system import System
from edgec_device.tool import Family
from edgec_device.verify import verify
from edgec_device.wire import Wire

_MOST_SECONDS = 24 * 3600
_MOST_ITERATIONS = 1_000_000
_MOST_KEPT = 1000
WIRE = "-"
_RECEIVING = ("install", "run-all")

STEPS = {
    "look": "say what machine this is and which runtimes it has; change nothing",
    "preflight": "check board, runtime, disk, memory, power mode and bundle; change nothing",
    "install": "copy the bundle under --dir",
    "build": "build an engine for each variant; existing ones are kept",
    "verify": "run the golden frames through the engines and compare the features",
    "bench": "measure the engines that are verified",
    "activate": "point `current` at the fastest verified engine",
    "rollback": "point `current` at the previous engine",
    "status": "show what is active, what was active before, and why",
    "run-all": "everything from preflight to activate; continues after an interruption",
}


def main(family: Family, arguments: Sequence[str] | None = None) -> int:
    """Run one command on a machine of this family and return its exit code."""
    options = _parser(family).parse_args(arguments)
    output = Output(options.json)
    code = run_guarded(lambda: _run(options, output, family), output.error, from_os_error)
    if code >= 128 and not options.json:
        print("interrupted; run the same command again to continue", file=sys.stderr)
    with suppress(Interrupted):
        output.emit("end", exit_code=code)
    return code


def _run(options: argparse.Namespace, output: Output, family: Family) -> None:
    root = folder(options.root or _default_root(), "--dir")
    chosen = Options(
        root=root,
        tool=options.tool,
        patience=options.patience,
        wait=not options.no_wait,
        variants=tuple(options.variant or ()),
        again=options.again,
        seconds=options.seconds,
        iterations=options.iterations,
        here=options.here,
        keep=options.keep,
    )
    if options.bundle == WIRE:
        wire = Wire()
        bundle = wire.bundle(root, options.function)
        wire.watch()
        try:
            _work(Session(chosen, bundle, System.from_environment(), output, family), options.command, wire)
        finally:
            wire.pause()
    else:
        bundle = read_bundle(folder(options.bundle or enclosing_artefact(), "--bundle"), options.function)
        _work(Session(chosen, bundle, System.from_environment(), output, family), options.command, None)


def _work(session: Session, command: str, wire: Wire | None) -> None:
    root = session.options.root
    _check_names(session.options, session.bundle)
    if command == "status":
        activation.status(session)
    elif command == "preflight":
        preflight(session)
    elif command == "look":
        look(session)
    else:
        root.mkdir(parents=True, exist_ok=True)
        with lock(root / ".lock", session.output, wait=session.options.wait):
            session.layout.clean()
            if wire is not None and command in _RECEIVING:
                receive(session, wire)
            _COMMANDS[command](session)


def _build(session: Session) -> None:
    session.identify()
    _raise_first(build(session, session.usable_variants(), again=session.options.again))


def _verify(session: Session) -> None:
    session.identify()
    _raise_first(verify(session, _built(session), again=True))


def _bench(session: Session) -> None:
    session.identify()
    engines = _passed(session, _built(session))
    seal.require_unchanged(session)
    for engine in engines:
        seal.require_whole(engine)
    if not engines:
        raise NothingToDo("No engine is verified, and only verified ones are measured.", remedy="run `verify` first")
    failed = bench(session, engines, again=True)
    if len(failed) < len(engines):
        _conclude(session, board_facts(session))
    _raise_first(failed)


def _activate(session: Session) -> None:
    session.identify()
    variants = session.usable_variants()
    if session.options.variants:
        chosen = next(iter(_passed(session, _built(session))), None)
        if chosen is None:
            raise NothingToDo(
                f"{session.options.variants[0]} is not verified, so it cannot be activated.",
                evidence=activation.problems(session),
                remedy="run `verify` first",
            )
        activation.activate(session, Choice(chosen, f"{chosen.variant.name} was chosen with --variant."))
    else:
        activation.activate(session, activation.choose(session, variants))


def _run_all(session: Session) -> None:
    """Where an engine takes minutes to build float32 is the last resort: it is only built if the others fail."""
    facts = preflight(session)
    install(session)
    activation.recheck_active(session)
    again, usable = session.options.again, session.usable_variants()
    first = [variant for variant in usable if variant.precision != "fp32" or session.family.tries_fp32] or usable
    failed = _build_and_verify(session, first, again)
    rest = [variant for variant in usable if variant not in first]
    if rest and all(variant.name in failed for variant in first):
        failed.update(_build_and_verify(session, rest, again))
    passed = [session.engine(variant) for variant in usable if session.engine(variant).built]
    passed = _passed(session, [engine for engine in passed if engine.variant.name not in failed])
    if not passed:
        measured.write(session, usable, None, facts)
        raise _none_left(session, failed)
    unmeasured = bench(session, passed, again=again)
    if len(unmeasured) == len(passed):
        measured.write(session, usable, None, facts)
        raise _none_left(session, unmeasured)
    _conclude(session, facts, activate=True)
    clean(session)


def _build_and_verify(session: Session, variants: Sequence[Variant], again: bool) -> dict[str, BoardError]:
    failed = build(session, variants, again=again)
    engines = [session.engine(variant) for variant in variants if variant.name not in failed]
    if engines:
        failed.update(verify(session, engines, again=again))
    return failed


def _conclude(session: Session, facts: dict[str, Any], *, activate: bool = False) -> None:
    """Choose an engine, `activate` it or not, and write the measurements."""
    usable = session.usable_variants()
    choice = activation.choose(session, usable)
    if activate:
        activation.activate(session, choice)
    measured.write(session, usable, choice, facts)
    session.output.emit("table", measured.table(session, usable))


def _none_left(session: Session, failed: dict[str, BoardError]) -> BoardError:
    """The error of a run whose variants all failed: verification's if one got that far, else the first one's."""
    first = next((error for error in failed.values() if isinstance(error, VerificationFailed)), next(iter(failed.values())))
    current = seal.current_engine(session.layout)
    outcome = f"{current} stays active" if current else "nothing is active"
    evidence = [f"{name}: {fact}" for name, error in failed.items() for fact in (error.what, *error.evidence[:3])]
    if isinstance(first, VerificationFailed):
        what, remedy = (
            f"No engine reproduces the golden features; {outcome}.",
            "send measurements.json and the logs to edgec's maintainers",
        )
        return VerificationFailed(what, evidence=evidence, remedy=remedy)
    return type(first)(f"{first.what} No variant is left; {outcome}.", evidence=evidence, remedy=first.remedy)


def _built(session: Session) -> list[Engine]:
    session.require_release()
    engines = [session.engine(variant) for variant in session.usable_variants()]
    built = [engine for engine in engines if engine.built]
    if not built:
        raise NothingToDo("There is no engine for this bundle and this runtime.", remedy="run `build` first, or `run-all`")
    return built


def _passed(session: Session, engines: Sequence[Engine]) -> list[Engine]:
    return [engine for engine in engines if (engine.verified(session.bundle) or {"passed": False})["passed"]]


def _raise_first(failed: dict[str, BoardError]) -> None:
    if failed:
        raise next(iter(failed.values()))


_COMMANDS: dict[str, Callable[[Session], None]] = {
    "install": install,
    "build": _build,
    "verify": _verify,
    "bench": _bench,
    "activate": _activate,
    "rollback": activation.rollback,
    "run-all": _run_all,
}


def _check_names(options: Options, bundle: Bundle) -> None:
    unknown = [name for name in options.variants if bundle.variant(name) is None]
    if unknown:
        known = ", ".join(variant.name for variant in bundle.variants)
        raise UsageError(f"There is no variant {unknown[0]}.", evidence=["the bundle has " + known])


def _default_root() -> str:
    return "{}/edgec".format(os.environ.get("XDG_DATA_HOME") or "~/.local/share")


def _parser(family: Family) -> argparse.ArgumentParser:
    (option, takes, default), duration = family.option, seconds_up_to(_MOST_SECONDS)
    parser = argparse.ArgumentParser(
        prog=family.program,
        description=family.description,
        epilog="exit codes:\n   0  done\n" + family.exit_codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in STEPS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_argument(  # --dir as in `edgec deploy`; --root is its old name
            "--dir", "--root", dest="root", metavar="DIR", help="where everything is installed (default: ~/.local/share/edgec)"
        )
        command.add_argument(
            "--bundle", metavar="DIR", help="the artefact (default: the one this program is part of); `-` is for `edgec deploy`"
        )
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
        command.add_argument(
            "--keep",
            type=lambda text: 0 if text == "0" else whole_number_up_to(_MOST_KEPT)(text),
            default=1,
            metavar="N",
            help="older builds that stay besides the active one and the one before (default: 1)",
        )
    return parser
