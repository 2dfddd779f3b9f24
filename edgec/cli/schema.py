"""`edgec schema`: what a report looks like, for programs that are not edgec."""

from __future__ import annotations

import click


@click.command()
@click.argument("what", type=click.Choice(["report", "sweep", "fleet", "recipe"]), default="report")
def schema(what: str) -> None:
    """Print the JSON Schema (2020-12) of report.json, of a sweep's sweep.json, of a FLEET.toml, or of a recipe (edgec.toml).

    This edgec also reads older versions of the first two.
    """
    import json

    if what == "sweep":
        from edgec.sweep.schema import json_schema
    elif what == "fleet":
        from edgec.fleet.file import json_schema
    elif what == "recipe":
        from edgec.recipes.file import json_schema
    else:
        from edgec.records.report import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
