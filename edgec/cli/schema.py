"""`edgec schema`: what a report looks like, for programs that are not edgec."""

from __future__ import annotations

import click


@click.command()
@click.argument("what", type=click.Choice(["report", "sweep"]), default="report")
def schema(what: str) -> None:
    """Print the JSON Schema (2020-12) of report.json, or of a sweep's sweep.json, in the version that this edgec writes.

    This edgec also reads the older versions.
    """
    import json

    if what == "sweep":
        from edgec.sweep.schema import json_schema
    else:
        from edgec.records.report import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
