"""`worker`: run one worker of a pipeline."""

from typing import Annotated, Literal

import typer

from stream_app.cli.options import PipelineArgument
from stream_app.settings import load_settings
from stream_app.worker.startup import run_worker

app = typer.Typer()


@app.command(epilog="Example: stream-app worker flights --role score --instance 0")
def worker(
    pipeline: PipelineArgument,
    role: Annotated[
        Literal["score", "learn", "monitor", "ingest"], typer.Option(help="Role of this process.")
    ],
    instance: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Static member id, unique among a role's workers; auto uses the host name.",
        ),
    ] = "0",
) -> None:
    """Run one worker of PIPELINE in this process."""
    run_worker(pipeline, role, instance, load_settings())
