"""`export`: examples of the log as a file, for the laboratory."""

from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.loading import load_pipeline
from stream_app.offline.example_export import Export, Log
from stream_app.settings import load_settings
from stream_app.transfer.send_progress import reporter

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
            help="First of them, by when it was written (2h, 1d ago, ISO) or where.",
        ),
    ] = "0",
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME|OFFSET", help="The one after the last [default: up to now]."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write examples of PIPELINE to FILE: features as they were served, prediction, label, times, version, offset."""
    work = Export(Log(load_settings(), load_pipeline(pipeline), since, until), out)
    with reporter("looking at the columns", work.size) as progress:
        work.look(progress)
    with reporter(f"writing {out}", work.size) as progress:
        found = work.write(progress)
    if as_json:
        print_json({"file": str(out), **found._asdict()})
    else:
        skipped = f", {found.unreadable:,} unreadable records left out" if found.unreadable else ""
        typer.echo(
            f"{out}: {found.examples:,} examples of the offsets {found.start} to {found.end}{skipped}"
        )
