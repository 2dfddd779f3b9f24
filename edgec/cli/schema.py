"""`edgec schema`: what a report looks like, for programs that are not edgec."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema (2020-12) of report.json, in the version that this edgec writes.

    This edgec also reads the older versions.
    """
    import json

    from edgec.report.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
