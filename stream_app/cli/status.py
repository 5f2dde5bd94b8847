"""`status`: the present state of a pipeline."""

import time
from contextlib import closing, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from stream_app.cli.console import report_console
from stream_app.cli.context import CommandContext
from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.dead_letters.access import read_open_check
from stream_app.errors import KafkaUnavailableError, UnhealthyError
from stream_app.settings import Settings
from stream_app.status.status_model import Status
from stream_app.status.status_rendering import fit
from stream_app.status.status_watcher import MAX_DEAD_LETTER_SHARE, StatusWatcher

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
    max_dead_letter_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of dead letters among the events or labels of the last ten minutes above "
            "which the pipeline is not healthy.",
        ),
    ] = MAX_DEAD_LETTER_SHARE,
    as_json: JsonOption = False,
) -> None:
    """Show the state of PIPELINE on one screen, from any machine.

    It is healthy when every role runs, is ready and keeps up, no event was lost or duplicated, and
    few records became dead letters. Alarms are about data and model; they are shown, and do not
    count for --check.
    """
    if watch and check:
        raise typer.BadParameter("it cannot be combined with --watch", param_hint="--check")
    context = CommandContext(pipeline, as_json)
    watched = WatchedPipeline(context.settings, context.name, max_dead_letter_share)
    with closing(watched):
        if watch:
            _watch(watched, as_json)
        else:
            _show(watched.look(), as_json, check)


class WatchedPipeline:
    """Status of a pipeline, look by look; connects at the first look at which Kafka answers.

    Args:
        settings: address of the cluster, and the data folder of this machine's workers.
        name: name of the pipeline.
        max_dead_letter_share: see `StatusWatcher`.
    """

    def __init__(self, settings: Settings, name: str, max_dead_letter_share: float) -> None:
        self._connect = partial(
            StatusWatcher, settings, name, max_dead_letter_share, read_open_check
        )
        self._watcher: StatusWatcher | None = None

    def look(self) -> Status:
        """Return the present status; the first look takes a second, to measure rates.

        Raises as `StatusWatcher`.
        """
        if self._watcher is None:
            watcher = self._connect()
            try:
                watcher.sample()
            except BaseException:
                watcher.close()
                raise
            self._watcher = watcher
            time.sleep(RATE_SECONDS)
        return self._watcher.look()

    def reconnect(self) -> None:
        """Let the next look connect again, with new clients.

        After an outage a client of librdkafka may keep a removed broker or a former coordinator,
        and not reach the cluster for minutes.
        """
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close_in_background()

    def close(self) -> None:
        """Close the connections."""
        if self._watcher is not None:
            self._watcher.close()


def _show(found: Status, as_json: bool, check: bool) -> None:
    if as_json:
        print_json(asdict(found))
    else:
        console = report_console()
        console.print(fit(found, console))
    if check and not found.healthy:
        raise UnhealthyError(
            f"{found.pipeline} is not healthy: {found.problems[0]}",
            "See `stream-app doctor PIPELINE`",
        )


def _watch(watched: WatchedPipeline, as_json: bool) -> None:
    """Look again and again; an outage is reported, and does not end the command."""
    console = report_console()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with nullcontext() if as_json or live is None else live:
        while True:
            found = _look(watched)
            if isinstance(found, str):
                # The error has gone, and with it the last other reference to the clients.
                watched.reconnect()
                if as_json:
                    typer.echo(found, err=True)
                else:
                    _print(found, console, live)
            elif as_json:
                print_json(asdict(found))
            else:
                _print(fit(found, console), console, live)
            time.sleep(WATCH_SECONDS)


def _look(watched: WatchedPipeline) -> Status | str:
    """Return the present status, or a line that says why there is none."""
    try:
        return watched.look()
    except KafkaUnavailableError as error:
        return f"{error}. Looking again."


def _print(screen: RenderableType, console: Console, live: Live | None) -> None:
    if live is None:
        console.print(screen, soft_wrap=isinstance(screen, str))
    else:
        live.update(screen, refresh=True)
