"""`status`: the present state of a pipeline."""

import time
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live

from stream_app.cli.context import CommandContext
from stream_app.cli.options import JsonOption, PipelineArgument, print_json, report_console
from stream_app.errors import KafkaUnavailableError, UnhealthyError
from stream_app.status.status_rendering import render
from stream_app.status.status_watcher import StatusWatcher

app = typer.Typer()

# Time between the two looks from which rates are computed.
RATE_SECONDS = 1.0
WATCH_SECONDS = 2.0


@app.command(epilog="Example: stream-app status flights --watch")
def status(
    pipeline: PipelineArgument,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every 2 seconds, until Ctrl-C.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="End with exit code 15 unless the pipeline is healthy.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the state of PIPELINE on one screen, from any machine.

    It is healthy when every role runs, is ready and keeps up, and no event was lost or duplicated.
    Alarms are about data and model; they are shown, and do not count for --check.
    """
    if watch and check:
        raise typer.BadParameter("it cannot be combined with --watch", param_hint="--check")
    context = CommandContext(pipeline, as_json)
    with closing(StatusWatcher(context.settings, context.name)) as watcher:
        watcher.sample()
        time.sleep(RATE_SECONDS)
        if watch:
            _watch(watcher, as_json)
        else:
            _show(watcher, as_json, check)


def _show(watcher: StatusWatcher, as_json: bool, check: bool) -> None:
    found = watcher.look()
    if as_json:
        print_json(asdict(found))
    else:
        report_console().print(render(found))
    if check and not found.healthy:
        raise UnhealthyError(
            f"{found.pipeline} is not healthy: {found.problems[0]}",
            "See `stream-app doctor PIPELINE`",
        )


def _watch(watcher: StatusWatcher, as_json: bool) -> None:
    while as_json:
        print_json(asdict(watcher.look()))
        time.sleep(WATCH_SECONDS)
    console = report_console()
    if not console.is_terminal:
        while True:
            console.print(_screen(watcher))
            time.sleep(WATCH_SECONDS)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_screen(watcher), refresh=True)
            time.sleep(WATCH_SECONDS)


def _screen(watcher: StatusWatcher) -> RenderableType:
    """Return one look; an outage is shown too, and does not end the command."""
    try:
        return render(watcher.look())
    except KafkaUnavailableError as error:
        return f"{error}. Looking again."
