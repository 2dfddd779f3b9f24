"""`edgec doctor`: what this machine has for edgec, and what it lacks."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli import options
from edgec.cli.console import err, out
from edgec.extras import EXTRAS, TITLES, failing

if TYPE_CHECKING:
    from edgec.lowering.base import Availability
    from edgec.records.report import Host


BOARDS = (
    "Do you have a Jetson? No figure of edgec has been measured on one yet. `edgec deploy ARTEFACT user@board` leaves two files "
    "beside the artefact, NAME.BOARD.report.json and NAME.BOARD.details.json: open an issue with both, also where it failed. "
    "They hold versions, timings, sensors and paths; no weights and no frames."
)


@dataclass(frozen=True)
class Compiler:
    """NVIDIA's, with which Jetsons' graphs are seen before a board has them (docs/nvidia.md). `core` is the TensorRT in it, where
    that is known; `sms` are the GPUs that it compiles for."""

    state: Availability
    core: str
    sms: tuple[str, ...]

    def __str__(self) -> str:
        if not self.state.available:
            return f"{_problem(self.state)}, on x86-64; Jetsons' graphs are then not compiled before a board has them"
        core = f" (TensorRT {self.core})" if self.core else ""
        return f"TensorRT-RTX {self.state.version}{core}, compiles for SM {', '.join(self.sms)}"


@dataclass(frozen=True)
class Findings:
    """`ready` are the target families that can be run here, and built for if `builds`; `profile` is the one for this host, if any
    is."""

    host: Host
    runtimes: dict[str, Availability]
    titles: dict[str, str]
    """Of the runtimes, by name."""
    profile: str | None
    precisions: tuple[str, ...]
    cache: Path
    cache_bytes: int
    cache_writable: bool
    here_writable: bool
    compiler: Compiler
    ssh: str | None
    """The client's version, which `edgec deploy` uses; None if there is none."""
    ready: tuple[str, ...]
    builds: bool
    """Whether the extra `build` is installed."""
    extras: dict[str, tuple[str, ...]]
    """By name, the packages of each extra that are missing."""
    lacking: tuple[str, ...]
    warnings: tuple[str, ...]
    failing: dict[str, str] | None = None
    """By package, why it cannot be imported although it is installed; None if it was not tried."""


@click.command()
@click.option(
    "--try", "tries", is_flag=True,
    help="Also import every package that is installed, in a process of its own: some are there and do not load. Takes seconds.",
)  # fmt: skip
@options.as_json
@click.pass_context
def doctor(context: click.Context, tries: bool, as_json: bool) -> None:
    """Show what this machine has for edgec, and what it lacks.

    Exit code 5 if there is no runtime for any target of this machine.
    """
    from edgec.errors import TargetError

    findings = examine()
    if tries:
        with err.status("importing what is installed"):
            findings = replace(findings, failing=failing([package for extra in EXTRAS.values() for package in extra.packages]))
    if as_json:
        click.echo(_json(findings))
    else:
        _print(findings)
    if not findings.ready:
        context.exit(TargetError.exit_code)


def examine() -> Findings:
    """What this machine has and lacks. Changes nothing."""
    from edgec.backends.profiles import HOST, resolve
    from edgec.cache import cache_root, cache_size
    from edgec.errors import TargetError
    from edgec.host.facts import caveats, facts, load_average
    from edgec.lowering.registry import all_lowerings

    load = load_average()
    host = facts()
    lowerings = all_lowerings()
    runtimes = {name: lowering.availability() for name, lowering in lowerings.items()}
    lacking = [f"{lowerings[name].title}: {_problem(state)}" for name, state in runtimes.items() if not state.available]
    if "torch" not in host.versions:
        line = EXTRAS["build"].line
        lacking.append(
            f"PyTorch: not installed; `edgec build` needs it, `edgec verify` and `edgec bench` do not; to add it: {line}"
        )
    profile: str | None = None
    precisions: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    try:
        own_profile = resolve(HOST, host)
    except TargetError as error:
        lacking.append(f"{error.what} {error.evidence[0]}")
    else:
        profile = own_profile.name
        pairs = [pair for pair in own_profile.candidates if pair[0] in runtimes and runtimes[pair[0]].available]
        precisions = tuple(dict.fromkeys(precision for _, precision in pairs))
        ready = (own_profile.family,) if pairs else ()
    cache = cache_root()
    writable = _writable(cache)
    if not writable:
        lacking.append(f"the cache {cache} cannot be written: set EDGEC_CACHE_DIR to a directory that you may write to")
    ssh = _ssh()
    if ssh is None:
        lacking.append("ssh: not found; `edgec deploy` and `edgec bench --on` need OpenSSH's client")
    return Findings(
        host=host,
        runtimes=runtimes,
        titles={name: lowering.title for name, lowering in lowerings.items()},
        profile=profile,
        precisions=precisions,
        cache=cache,
        cache_bytes=cache_size(),
        cache_writable=writable,
        here_writable=_writable(Path.cwd()),
        compiler=_compiler(),
        ssh=ssh,
        ready=ready,
        builds=not EXTRAS["build"].missing,
        extras={name: extra.missing for name, extra in EXTRAS.items()},
        lacking=tuple(lacking),
        warnings=caveats(host, load),
    )


def _compiler() -> Compiler:
    from edgec.lowering.tensorrt.compiler.machines import availability, core_of, sms_of

    state = availability()
    return Compiler(state, core_of(state.version), sms_of(state.version) if state.available else ())


def _ssh() -> str | None:
    try:
        done = subprocess.run(["ssh", "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stderr or done.stdout).partition(",")[0].strip() or None


def _writable(path: Path) -> bool:
    """Whether it can be written to, or made."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _print(findings: Findings) -> None:
    from rich.text import Text

    from edgec.cli.tables import facts_table

    host = findings.host
    rows = [
        ("edgec", host.versions["edgec"]),
        ("Python", f"{host.python}, {platform.python_implementation()}"),
        ("system", f"{host.os}, {host.architecture}"),
        ("CPU", host.cpu),
        ("flags", ", ".join(host.isa) or "none that edgec knows"),
        ("cores", f"{host.usable_cores} usable of {host.physical_cores} physical, {host.logical_cores} logical"),
        ("memory", f"{host.memory_bytes / 1e9:.1f} GB"),
        ("governor", host.governor or "the system does not say"),
        ("virtual machine", {True: "yes", False: "no", None: "the system does not say"}[host.virtual_machine]),
        (
            "profile",
            f"{findings.profile}: {', '.join(findings.precisions) or 'no runtime'}" if findings.profile else "none suits",
        ),
    ]
    for name, state in findings.runtimes.items():
        rows.append((findings.titles[name], state.version if state.available else f"not available: {_problem(state)}"))
    tools = {name: version for name, version in host.versions.items() if name not in ("edgec", *findings.runtimes)}
    rows += [
        ("packages", ", ".join(f"{name} {version}" for name, version in tools.items())),
        ("cache", f"{findings.cache}, {findings.cache_bytes / 1e6:.1f} MB, {_access(findings.cache_writable)}"),
        ("this folder", _access(findings.here_writable)),
        ("NVIDIA's compiler", str(findings.compiler)),
        ("ssh", findings.ssh or "not found"),
    ]
    out.print(facts_table(rows))
    for warning in findings.warnings:
        err.print(Text(f"Warning for measurements: {warning}"))
    out.print()
    out.print(
        facts_table((f"edgec[{name}]", _extra(name, missing, findings.failing)) for name, missing in findings.extras.items())
    )
    out.print()
    only = "" if findings.builds or not findings.ready else " (to run and measure; nothing is built without edgec[build])"
    out.print(Text(f"ready for: {', '.join(findings.ready) or 'nothing'}{only}"), soft_wrap=True)
    for lack in findings.lacking:
        out.print(Text(f"missing: {lack}"), soft_wrap=True)
    out.print()
    out.print(Text(BOARDS))


def _extra(name: str, missing: tuple[str, ...], failing: dict[str, str] | None) -> str:
    """What an extra enables, and whether it is there."""
    extra = EXTRAS[name]
    reasons = failing or {}
    broken = [f"{TITLES.get(package, package)} ({reasons[package]})" for package in extra.packages if package in reasons]
    if broken:
        return f"installed, but does not load: {', '.join(broken)}; it is for {extra.enables}; to install it anew: {extra.line}"
    if not missing:
        return f"installed{'' if failing is None else ' and loads'}: {extra.enables}"
    lacking = ", ".join(TITLES.get(package, package) for package in missing)
    return f"not installed ({lacking}): {extra.enables}; to add it: {extra.line}"


def _problem(state: Availability) -> str:
    return state.problem + (f"; to add it: {state.install}" if state.install else "")


def _access(writable: bool) -> str:
    return "writable" if writable else "not writable"


def _json(findings: Findings) -> str:
    import json
    from dataclasses import asdict

    data: dict[str, Any] = {
        "host": findings.host.model_dump(mode="json"),
        "runtimes": {name: asdict(state) for name, state in findings.runtimes.items()},
        "profile": findings.profile,
        "precisions": findings.precisions,
        "cache": {"path": str(findings.cache), "bytes": findings.cache_bytes, "writable": findings.cache_writable},
        "this_folder_writable": findings.here_writable,
        "nvidia_compiler": {**asdict(findings.compiler.state), "core": findings.compiler.core, "sms": findings.compiler.sms},
        "ssh": findings.ssh,
        "extras": {
            name: {"enables": EXTRAS[name].enables, "missing": missing, "install": EXTRAS[name].line}
            for name, missing in findings.extras.items()
        },
        "failing": findings.failing,
        "ready": findings.ready,
        "missing": findings.lacking,
        "warnings": findings.warnings,
    }
    return json.dumps(data, indent=2)
