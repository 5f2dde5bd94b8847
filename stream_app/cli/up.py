"""`up` and `demo`: run all of a pipeline on one machine."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.demo.demo import run_demo
from stream_app.lifecycle.up import run_up
from stream_app.settings import load_settings
from stream_app.telemetry.logs import setup_logging

app = typer.Typer()


@app.command(epilog="Example: stream-app up flights --scorers 2")
def up(
    pipeline: PipelineArgument,
    scorers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Number of scorer processes.")
    ] = 1,
    monitor: Annotated[
        bool, typer.Option("--monitor/--no-monitor", help="Run the monitor as well.")
    ] = True,
) -> None:
    """Run all of PIPELINE on one machine until Ctrl-C: topics, scorers, learner, monitor.

    Starts a broker if none is configured.
    """
    settings = load_settings()
    setup_logging(settings.log, role="supervisor")
    run_up(pipeline, settings, scorers=scorers, monitor=monitor)


@app.command(epilog="Example: stream-app demo --until 2013-01-11")
def demo(
    since: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            show_default="2013-01-01",
            help="First day of 2013 to replay.",
        ),
    ] = datetime(2013, 1, 1),
    until: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            show_default="2013-03-01",
            help="Day after the last one.",
        ),
    ] = datetime(2013, 3, 1),
    mistakes: Annotated[
        float,
        typer.Option(
            metavar="SHARE", min=0, max=0.5, help="Share of records with a producer's mistake."
        ),
    ] = 0.002,
    scorers: Annotated[
        int, typer.Option(metavar="N", min=1, max=16, help="Number of scorer processes.")
    ] = 2,
    pace: Annotated[
        float,
        typer.Option(
            metavar="HOURS",
            min=0.1,
            max=6,
            help="Hours of event time that a model may lag behind the labels.",
        ),
    ] = 1.35,
    as_json: JsonOption = False,
) -> None:
    """Replay two months of real flights through a real broker, and watch a model learn from them.

    Verifies at the end that no event was lost or duplicated.
    """
    settings = load_settings()
    setup_logging(settings.log, role="supervisor")
    first, last = since.replace(tzinfo=UTC), until.replace(tzinfo=UTC)
    summary = run_demo(settings, first, last, mistakes, scorers, pace)
    if as_json:
        print_json(summary)
