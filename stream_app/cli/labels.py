"""`labels complete`: says that no earlier label follows."""

from typing import Annotated

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.options import JsonOption, PipelineArgument
from stream_app.clock import now_ms
from stream_app.core.reading.completeness import ALL_SOURCES, MAX_NAME, Completeness
from stream_app.formatting import counted, iso_time
from stream_app.transfer.completeness_sending import send_completeness
from stream_app.transfer.consume import parse_since

app = typer.Typer(no_args_is_help=True)


@app.callback()
def labels() -> None:
    """Keep `complete` a subcommand, as others may follow."""


@app.command(epilog="Example: stream-app labels complete flights --until 2013-12-31T23:59:59Z")
def complete(
    pipeline: PipelineArgument,
    until: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="All labels of an earlier time were sent: an ISO time, or 2h ago."
        ),
    ],
    source: Annotated[
        str, typer.Option(metavar="NAME", help="Only those of this source [default: all labels].")
    ] = ALL_SOURCES,
    as_json: JsonOption = False,
) -> None:
    """Say that all labels of PIPELINE until a time were sent, so that predictions can close."""
    time = parse_since(until)
    if time is None:
        raise typer.BadParameter(
            "give 30s, 10m, 2h, 1d or 2026-01-31T12:00:00Z", param_hint="--until"
        )
    if time > now_ms():
        raise typer.BadParameter("it is in the future", param_hint="--until")
    if len(source) > MAX_NAME:
        raise typer.BadParameter(
            f"give a name of up to {MAX_NAME} characters", param_hint="--source"
        )
    context = CommandContext(pipeline, as_json)
    partitions = send_completeness(context.settings, context.name, Completeness(source, time))
    of = f" of source {source}" if source else ""
    context.write(
        {"until": iso_time(time), "source": source, "partitions": partitions},
        f"labels{of} are complete until {iso_time(time)}: written to "
        f"{counted(partitions, 'partition')}",
    )
