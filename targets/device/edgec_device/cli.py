"""The command line: one command a step, and run-all."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from typing import Any, Callable, Sequence

from edgec_onboard.errors import BoardError, Interrupted, UsageError, VerificationFailed
from edgec_onboard.program import enclosing_artefact, folder, run_guarded

from edgec_device import activation, measured, seal, updating
from edgec_device.activation import Choice
from edgec_device.arguments import INSTALLED, default_root, parser
from edgec_device.bench import bench
from edgec_device.build import build
from edgec_device.bundle import BUNDLE, Bundle, Variant, check_files, read_bundle
from edgec_device.errors import NothingToDo, from_os_error
from edgec_device.files import lock
from edgec_device.install import board_facts, install, look, preflight
from edgec_device.keys import Keys, read_keys, with_delivered
from edgec_device.output import Output
from edgec_device.receive import receive
from edgec_device.session import Engine, Options, Session
from edgec_device.system import System
from edgec_device.tool import Family
from edgec_device.trusted import open_signed, require_current, require_signed, take
from edgec_device.verify import verify
from edgec_device.wire import Delivery, Wire

WIRE = "-"
_RECEIVING = ("install", "run-all", "update")


def main(family: Family, arguments: Sequence[str] | None = None) -> int:
    """Run one command on a machine of this family and return its exit code."""
    options = parser(family).parse_args(arguments)
    output = Output(options.json)
    code = run_guarded(lambda: _run(options, output, family), output.error, from_os_error)
    if code >= 128 and not options.json:
        print("interrupted; run the same command again to continue", file=sys.stderr)
    with suppress(Interrupted):
        output.emit("end", exit_code=code)
    return code


def _run(options: argparse.Namespace, output: Output, family: Family) -> None:
    root = folder(options.root or default_root(), "--dir")
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
        allow_older=options.allow_older,
    )
    system = System.from_environment()
    keys = read_keys(system, root, [folder(path, "--trust") for path in options.trust or ()])
    if options.command == "undo":
        root.mkdir(parents=True, exist_ok=True)
        with lock(root / ".lock", output, wait=chosen.wait):
            updating.undo(root, output)
    elif options.bundle == WIRE:
        wire = Wire()
        delivery = Delivery(wire.bundle(root, options.function), ())
        if options.signed:
            delivery = wire.delivery(delivery.bundle)
        wire.watch()
        try:
            session = Session(chosen, delivery.bundle, system, output, family, with_delivered(keys, delivery.trust))
            _work(session, options.command, lambda: receive(session, wire, delivery.trust))
        finally:
            wire.pause()
    else:
        _run_here(options, chosen, system, output, family, keys)


def _run_here(options: argparse.Namespace, chosen: Options, system: System, output: Output, family: Family, keys: Keys) -> None:
    """With a bundle that lies on this machine, or with what is installed."""
    path = None if options.bundle is None else folder(options.bundle, "--bundle")
    if path is None and options.command not in INSTALLED:
        path = folder(enclosing_artefact(), "--bundle")
        path = path if (path / BUNDLE).is_file() else None
    if path is not None and options.command in INSTALLED:
        raise UsageError(f"{options.command} is about what is active, and takes no --bundle.", remedy="use --name if needed")
    if path is None and options.command not in _RECEIVING:
        bundle = updating.installed(chosen.root, options.name, options.function)
        _work(Session(chosen, bundle, system, output, family, keys), options.command, None)
    elif path is not None and (keys.any or not path.is_dir()) and path.exists():
        source, bundle, released = open_signed(path, keys, chosen.root, options.function)
        with source:
            session = Session(chosen, bundle, system, output, family, keys)
            require_current(session, released)
            _work(session, options.command, lambda: take(session, source, released))
    else:
        bundle = read_bundle(path or folder(enclosing_artefact(), "--bundle"), options.function)
        _work(Session(chosen, bundle, system, output, family, keys), options.command, None)


def _work(session: Session, command: str, bring: Callable[[], None] | None) -> None:
    """Do what the command says. `bring` installs the bundle, where that does not lie on this machine as a folder."""
    root = session.options.root
    _check_names(session.options, session.bundle)
    if command in _AT_ONCE:
        _AT_ONCE[command](session)
        return
    root.mkdir(parents=True, exist_ok=True)
    with lock(root / ".lock", session.output, wait=session.options.wait):
        session.layout.clean()
        if command == "update":
            updating.begin(session)
        if bring is not None and command in _RECEIVING:
            bring()
        elif command in _USING and (session.keys.any or session.release.is_dir()):
            require_signed(session, session.require_release())
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


def _check(session: Session) -> None:
    """Whatever there is to check was checked when the bundle was opened, but for what nobody signed."""
    if session.released is None:
        check_files(session.bundle)
    session.output.emit("done", f"  {session.bundle.name} ({session.bundle.key}) is whole", step="check", result="whole")


def _preflight(session: Session) -> None:
    preflight(session)


_AT_ONCE: dict[str, Callable[[Session], None]] = {
    "status": activation.status,
    "check": _check,
    "preflight": _preflight,
    "look": look,
}
"""These need no lock."""
_USING = ("build", "verify", "bench", "activate")
_COMMANDS: dict[str, Callable[[Session], None]] = {
    "install": install,
    "build": _build,
    "verify": _verify,
    "bench": _bench,
    "activate": _activate,
    "rollback": activation.rollback,
    "run-all": _run_all,
    "update": _run_all,
    "health": updating.health,
    "commit": updating.commit,
}


def _check_names(options: Options, bundle: Bundle) -> None:
    unknown = [name for name in options.variants if bundle.variant(name) is None]
    if unknown:
        known = ", ".join(variant.name for variant in bundle.variants)
        raise UsageError(f"There is no variant {unknown[0]}.", evidence=["the bundle has " + known])
