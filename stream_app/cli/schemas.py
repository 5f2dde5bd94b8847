"""`schemas`: check and register the schemas of a pipeline."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.loading import load_pipeline
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.released_versions import versions_at
from stream_app.schema_registry.subjects import (
    CheckedSubject,
    check_schemas,
    register_schemas,
    registered_in,
    require_compatible,
)
from stream_app.settings import load_settings

app = typer.Typer(help="The Avro schemas of a pipeline: check, register.", no_args_is_help=True)

AgainstOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="A folder of released schemas, <id>-<subject>.avsc, or one older schema's file; unset, the registry.",
    ),
]


@app.command(epilog="Example: stream-app schemas check payments.py --against schemas/released")
def check(
    pipeline: PipelineArgument, against: AgainstOption = None, as_json: JsonOption = False
) -> None:
    """Check that the schemas of PIPELINE can read what was written with all their older versions.

    Ends with 14 if one cannot.
    """
    loaded = load_pipeline(pipeline)
    versions = (
        versions_at(against, loaded)
        if against
        else registered_in(open_registry(load_settings().registry))
    )
    checked = check_schemas(loaded, versions)
    if as_json:
        print_json(
            [
                {**asdict(one), "problems": [problem._asdict() for problem in one.problems]}
                for one in checked
            ]
        )
    else:
        for one in checked:
            _show(one)
    require_compatible(checked)


@app.command(epilog="Example: stream-app schemas register payments.py")
def register(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Register the schemas of PIPELINE, after checking them as `schemas check` does; if one fails, none is."""
    results = register_schemas(load_pipeline(pipeline), load_settings())
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        for result in results:
            typer.echo(f"{result.subject}: {result.result}, id: {result.id}")


def _show(checked: CheckedSubject) -> None:
    typer.echo(f"{checked.subject}: {checked.result}, versions: {checked.versions}")
    for problem in checked.problems:
        where = f"field {problem.field}: " if problem.field else ""
        typer.echo(f"  version {problem.version}: {where}{problem.reason}. {problem.remedy}")
