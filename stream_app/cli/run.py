"""Commands that run a pipeline: `worker` and `up`."""

from typing import Annotated, Literal

import typer

from stream_app.cli.options import PipelineArgument
from stream_app.lifecycle.up import run_up
from stream_app.settings import load_settings
from stream_app.telemetry.logs import setup_logging
from stream_app.worker.worker import run_worker

app = typer.Typer()


@app.command(epilog="Example: stream-app worker flights --role score --instance 0")
def worker(
    pipeline: PipelineArgument,
    role: Annotated[
        Literal["score", "learn", "monitor"], typer.Option(help="What this process does.")
    ],
    instance: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Static member id, unique among a role's workers; auto takes this machine's host name.",
        ),
    ] = "0",
) -> None:
    """Run one worker of PIPELINE in this process."""
    run_worker(pipeline, role, instance, load_settings())


@app.command(epilog="Example: stream-app up flights --scorers 2")
def up(
    pipeline: PipelineArgument,
    scorers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="How many scorer processes.")
    ] = 1,
    monitor: Annotated[
        bool, typer.Option("--monitor/--no-monitor", help="Run the monitor as well.")
    ] = True,
) -> None:
    """Run PIPELINE whole: broker if none is configured, topics, scorers, learner, monitor; Ctrl-C stops it."""
    settings = load_settings()
    setup_logging(settings.log, role="supervisor")
    run_up(pipeline, settings, scorers=scorers, monitor=monitor)
