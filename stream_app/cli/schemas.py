"""`schemas`: check and register the schemas of a pipeline."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.options import JsonOption, PipelineArgument
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.subjects import (
    CheckedSubject,
    check_schemas,
    register_schemas,
    require_compatible,
    versions_in_files,
    versions_in_registry,
)

app = typer.Typer(no_args_is_help=True)

AgainstOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Folder of released schemas, <id>-<subject>.avsc, or the file of one older schema "
        "[default: the registry].",
    ),
]


@app.command(epilog="Example: stream-app schemas check payments.py --against schemas/released")
def check(
    pipeline: PipelineArgument, against: AgainstOption = None, as_json: JsonOption = False
) -> None:
    """Check that the schemas of PIPELINE can read what was written with all older versions.

    Ends with exit code 14 if one cannot.
    """
    context = CommandContext(pipeline, as_json)
    versions = (
        versions_in_files(against, context.pipeline)
        if against
        else versions_in_registry(open_registry(context.settings.registry))
    )
    checked = check_schemas(context.pipeline, versions)
    context.write(
        [
            {**asdict(one), "problems": [problem._asdict() for problem in one.problems]}
            for one in checked
        ],
        *(line for one in checked for line in _subject_lines(one)),
    )
    require_compatible(checked)


@app.command(epilog="Example: stream-app schemas register payments.py")
def register(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Register the schemas of PIPELINE, if all pass the check of `schemas check`."""
    context = CommandContext(pipeline, as_json)
    results = register_schemas(context.pipeline, context.settings)
    context.write(
        [asdict(result) for result in results],
        *(f"{result.subject}: {result.result}, id: {result.id}" for result in results),
    )


def _subject_lines(checked: CheckedSubject) -> Iterator[str]:
    yield f"{checked.subject}: {checked.result}, versions: {checked.versions}"
    for problem in checked.problems:
        field = f"field {problem.field}: " if problem.field else ""
        yield f"  version {problem.version}: {field}{problem.reason}. {problem.remedy}"
