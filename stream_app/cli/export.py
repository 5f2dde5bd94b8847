"""`export`: examples of the log as a file, for offline work."""

from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.options import JsonOption, PipelineArgument
from stream_app.offline.example_export import ExampleExport, ExampleRange
from stream_app.transfer.progress import report_progress

app = typer.Typer()


@app.command(epilog="Example: stream-app export flights --since 7d --out week.parquet")
def export(
    pipeline: PipelineArgument,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="A new file; ends in .parquet, .csv or .jsonl.")
    ],
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME|OFFSET",
            help="First example, by time of writing (2h, 1d ago, ISO) or offset.",
        ),
    ] = "0",
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME|OFFSET", help="End, exclusive [default: the present end]."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write examples of PIPELINE to a file: features as served, prediction, label and times."""
    context = CommandContext(pipeline, as_json)
    work = ExampleExport(ExampleRange(context.settings, context.pipeline, since, until), out)
    with report_progress("finding the columns", work.size) as progress:
        work.find_columns(progress)
    with report_progress(f"writing {out}", work.size) as progress:
        found = work.write(progress)
    skipped = f", {found.unreadable:,} unreadable records skipped" if found.unreadable else ""
    context.write(
        {"file": str(out), **found._asdict()},
        f"{out}: {found.examples:,} examples of the offsets {found.start} to {found.end}{skipped}",
    )
