"""`edgec targets`: what can be built for, and what each target promises."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edgec.cli import options
from edgec.cli.console import out

if TYPE_CHECKING:
    from edgec.backends.base import Backend
    from edgec.backends.profile import DetailTable, Profile
    from edgec.lowering.base import Availability
    from edgec.records.report import Host


@click.group(invoke_without_command=True)
@options.as_json
@click.pass_context
def targets(context: click.Context, as_json: bool) -> None:
    """List the targets that edgec builds for, or show one."""
    context.obj = as_json
    if context.invoked_subcommand is None:
        _list(as_json)


@targets.command("list")
@options.as_json
@click.pass_obj
def list_command(json_for_group: bool, as_json: bool) -> None:
    """List all targets: what they run, and whether this host is one."""
    _list(json_for_group or as_json)


@targets.command()
@click.argument("name", type=options.ReferenceType())
@options.as_json
@click.pass_obj
def show(json_for_group: bool, name: str, as_json: bool) -> None:
    """Show what target NAME promises, with the sources. NAME may be `cpu`, `jetson`, `apple`, a name of the list, or the path of
    a TOML file."""
    from edgec.backends.profiles import family, resolve
    from edgec.host.facts import facts

    host = facts()
    several = family(name)
    profiles = several or (resolve(name, host),)
    states = _runtimes(profiles)
    if json_for_group or as_json:
        described = [_profile_json(profile, host, states) for profile in profiles]
        click.echo(json.dumps(described if several else described[0], indent=2))
        return
    for number, profile in enumerate(profiles):
        if number:
            out.print()
        _show(profile, host, states)


def _list(as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgec.backends.profiles import list_profiles
    from edgec.backends.registry import all_backends
    from edgec.host.facts import facts

    host, profiles = facts(), list_profiles()
    states = _runtimes(profiles)
    if as_json:
        click.echo(json.dumps([_profile_json(profile, host, states) for profile in profiles], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for title in ("title", "runtimes", "precisions", "this host"):
        table.add_column(title, overflow="fold")
    for profile in profiles:
        cells = (profile.title, ", ".join(profile.runtimes), ", ".join(profile.precisions), _host_words(profile, host, states))
        table.add_row(profile.name, *map(Text, cells))
    out.print(table)
    out.print()
    for name, backend in all_backends().items():
        meaning = _meaning(backend, [profile for profile in profiles if profile.family == name], host)
        if meaning:
            out.print(f"{name} is {meaning}.", soft_wrap=True)
    _print_missing(states)


def _meaning(backend: Backend, profiles: list[Profile], host: Host) -> str:
    """What the family's name means as a target; empty if it means nothing on this host."""
    from edgec.errors import TargetError

    if several := backend.members(profiles):
        return f"{', '.join(profile.name for profile in several)} in one artefact"
    try:
        return f"{backend.best(profiles, host).name} on this host"
    except TargetError:
        return ""


def _show(profile: Profile, host: Host, states: dict[str, Availability]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from edgec.cli.tables import facts_table

    out.print(Text(f"{profile.name}: {profile.title}"))
    rows = [("examples", profile.examples), ("architecture", profile.architecture)]
    if profile.requires:
        rows.append(("requires", ", ".join(profile.requires)))
    rows += [(precision, f"in {', '.join(runtimes)}") for precision, runtimes in profile.precisions.items()]
    if profile.cores is not None:
        rows.append(("cores", str(profile.cores)))
    if profile.memory_gib is not None:
        rows.append(("memory", f"{profile.memory_gib:g} GiB"))
    rows += profile.details
    rows.append(("this host", _host_words(profile, host, states)))
    out.print(facts_table(rows))
    for table in profile.tables:
        _show_table(table)
    out.print("\nPromises")
    for promise in profile.promises:
        out.print(Padding(Text(promise.text), (0, 0, 0, 2)))
        out.print(Padding(Text(f"Source: {promise.source}"), (0, 0, 0, 4)))
    _print_missing(states)


def _show_table(details: DetailTable) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from edgec.report.sheets import numbers, sheet, texts
    from edgec.report.table import terminal_table

    first, *others = details.columns
    out.print(f"\n{details.title}")
    out.print(terminal_table(sheet(texts(first) + numbers(*others), details.rows)))
    for note in details.notes:
        out.print(Padding(Text(note), (0, 0, 0, 2)))


def _runtimes(profiles: tuple[Profile, ...]) -> dict[str, Availability]:
    """The state of every runtime that the profiles name. One that no package registers is unavailable."""
    from edgec.lowering.base import Availability
    from edgec.lowering.registry import all_lowerings

    lowerings = all_lowerings()
    unknown = Availability(False, problem="no installed package provides this lowering", install="")
    names = dict.fromkeys(name for profile in profiles for name in profile.runtimes)
    return {name: lowerings[name].availability() if name in lowerings else unknown for name in names}


def _lacks(profile: Profile, host: Host) -> tuple[str, ...]:
    from edgec.backends.profiles import missing

    return missing(profile, host)


def _host_words(profile: Profile, host: Host, states: dict[str, Availability]) -> str:
    """Whether this host has a runtime to build for the target, and whether it could be that target itself."""
    from edgec.backends import registry as backends

    absent = [name for name in profile.runtimes if not states[name].available]
    if len(absent) == len(profile.runtimes):
        return "unavailable: no runtime installed"
    if not backends.get(profile.family).runs_here:
        return "builds and imitates it"
    lacks = _lacks(profile, host)
    if lacks[:1] == (profile.architecture,):
        text = f"is not {profile.architecture}"
    else:
        text = f"lacks {', '.join(lacks)}" if lacks else "suits"
    return f"{text}; {', '.join(absent)} is not installed" if absent else text


def _print_missing(states: dict[str, Availability]) -> None:
    from rich.text import Text

    for name, state in states.items():
        if not state.available:
            remedy = f" To add it: {state.install}" if state.install else ""
            out.print(Text(f"\n{name} is unavailable: {state.problem}.{remedy}"), soft_wrap=True)


def _profile_json(profile: Profile, host: Host, states: dict[str, Availability]) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **profile.model_dump(mode="json"),
        "runtimes": {name: asdict(states[name]) for name in profile.runtimes},
        "available": any(states[name].available for name in profile.runtimes),
        "host_lacks": _lacks(profile, host),
    }
