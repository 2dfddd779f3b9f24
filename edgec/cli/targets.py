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
    """List the families of targets that edgec builds for, list the targets of one, or show one."""
    context.obj = as_json
    if context.invoked_subcommand is None:
        _list_all(as_json)


@targets.command("list")
@click.argument("family", required=False, type=options.ReferenceType())
@options.as_json
@click.pass_obj
def list_command(json_for_group: bool, family: str | None, as_json: bool) -> None:
    """List the targets of FAMILY (`cpu`, `jetson`, `rtx`, `apple`), or all: what they run, and whether this host is one."""
    _list(family, as_json=json_for_group or as_json)


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


def _list_all(as_json: bool) -> None:
    """A line a family."""
    from rich.text import Text

    from edgec.backends.profiles import list_profiles
    from edgec.backends.registry import all_backends
    from edgec.host.facts import facts
    from edgec.report.sheets import numbers, sheet, texts
    from edgec.report.table import terminal_table

    if as_json:
        _list(None, as_json=True)
        return
    host, profiles = facts(), list_profiles()
    states = _runtimes(profiles)
    rows, meanings = [], []
    for name, backend in all_backends().items():
        members = [profile for profile in profiles if profile.family == name]
        runtimes = ", ".join(dict.fromkeys(runtime for profile in members for runtime in profile.runtimes))
        rows.append((name, str(len(members)), runtimes, _family_words(members, host, states)))
        meaning = _meaning(backend, members, host)
        meanings += [f"{name} as a target is {meaning}."] if meaning else []
    out.print(terminal_table(sheet(texts("family") + numbers("targets") + texts("runtimes", "this host"), rows), width=out.width))
    out.print()
    for text in meanings:
        out.print(Text(text))
    out.print(Text("The targets of a family: edgec targets list FAMILY. What one promises: edgec targets show NAME."))
    _print_missing(states)


def _family_words(members: list[Profile], host: Host, states: dict[str, Availability]) -> str:
    """What this host is to all targets of a family together."""
    words = [_host_words(profile, host, states) for profile in members]
    if len(set(words)) == 1:
        return words[0]
    suiting = [profile.name for profile, text in zip(members, words, strict=True) if text.startswith("suits")]
    absent = dict.fromkeys(part for text in words for part in text.split("; ") if part.endswith("is not installed"))
    return "; ".join([f"suits {len(suiting)} of {len(members)}", *absent])


def _list(family: str | None, *, as_json: bool) -> None:
    from rich.text import Text

    from edgec.backends.profiles import list_profiles
    from edgec.backends.registry import all_backends
    from edgec.errors import TargetError
    from edgec.host.facts import facts
    from edgec.report.sheets import sheet, texts
    from edgec.report.table import terminal_table

    host = facts()
    profiles = tuple(profile for profile in list_profiles() if family in (None, profile.family))
    if not profiles:
        raise TargetError(
            f"There is no family {family!a} of targets.",
            evidence=f"there are {', '.join(all_backends())}",
            remedy="see `edgec targets`; a target by its name: `edgec targets show NAME`",
        )
    states = _runtimes(profiles)
    if as_json:
        click.echo(json.dumps([_profile_json(profile, host, states) for profile in profiles], indent=2))
        return
    rows = [
        (
            *(profile.name, _host_words(profile, host, states), profile.title),
            *(", ".join(profile.precisions), ", ".join(profile.runtimes)),
        )
        for profile in profiles
    ]
    out.print(terminal_table(sheet(texts("name", "this host", "title", "precisions", "runtimes"), rows), width=out.width))
    out.print()
    for name, backend in all_backends().items():
        meaning = _meaning(backend, [profile for profile in profiles if profile.family == name], host)
        if meaning and family in (None, name):
            out.print(Text(f"{name} is {meaning}."))
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
    out.print(terminal_table(sheet(texts(first) + numbers(*others), details.rows), width=out.width))
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
        return "builds for it, and simulates it"
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
            out.print(Text(f"\n{name} is unavailable: {state.problem}.{remedy}", "yellow"), soft_wrap=True)


def _profile_json(profile: Profile, host: Host, states: dict[str, Availability]) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **profile.model_dump(mode="json"),
        "runtimes": {name: asdict(states[name]) for name in profile.runtimes},
        "available": any(states[name].available for name in profile.runtimes),
        "host_lacks": _lacks(profile, host),
    }
