"""`doctor`: problems of a pipeline, with a remedy for each."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from stream_app.cli.console import report_console
from stream_app.cli.options import JsonOption, print_json
from stream_app.doctor.context import DoctorContext
from stream_app.doctor.runner import CHECKS, render, run_checks
from stream_app.errors import UnhealthyError
from stream_app.formatting import counted

app = typer.Typer()

OptionalPipeline = Annotated[
    str | None,
    typer.Argument(
        metavar="PIPELINE",
        help="As for other commands; without it, check only what all pipelines need.",
    ),
]


@app.command(epilog="Example: stream-app doctor flights")
def doctor(pipeline: OptionalPipeline = None, as_json: JsonOption = False) -> None:
    """Check settings, machine, cluster, topics, workers and model; print problems and remedies.

    Nothing is changed, except that a test artifact is written to the artifact store and deleted.
    Ends with exit code 15 if there is a problem, with 0 if there are only warnings.
    """
    results = []
    with (
        closing(DoctorContext(pipeline)) as context,
        Console(stderr=True).status("checking") as progress,
    ):
        for result in run_checks(CHECKS, context):
            results.append(result)
            progress.update(f"checking: {result.area}")
    problems = [result for result in results if result.level == "problem"]
    if as_json:
        listed = [asdict(result) for result in results]
        print_json({"pipeline": pipeline, "healthy": not problems, "results": listed})
    else:
        report_console().print(render(results))
    if problems:
        raise UnhealthyError(
            f"Found {counted(len(problems), 'problem')}", "Follow the remedy listed with each"
        )
