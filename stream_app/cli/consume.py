"""`consume`: show the records of a pipeline's topics."""

import os
import select
import sys
from collections.abc import Iterable
from contextlib import closing
from typing import Annotated

import typer

from stream_app.cli.options import JsonOption, PipelineArgument
from stream_app.loading import load_pipeline
from stream_app.schema_registry import open_registry
from stream_app.settings import load_settings
from stream_app.transfer import consume as client
from stream_app.transfer.record_rendering import json_line, text_line
from stream_app.transfer.record_selection import Kind, RecordSelection, Start, parse_since
from stream_app.transfer.value_encoding import Decoder

app = typer.Typer()


Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Start there: 30s, 10m, 2h, 1d ago, or an ISO time."),
]


@app.command(epilog="Example: stream-app consume flights scored --since 10m --json")
def consume(
    pipeline: PipelineArgument,
    kind: Annotated[
        Kind, typer.Argument(metavar="KIND", help="Dead letters are those of events and of labels.")
    ],
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest record.")
    ] = False,
    since: Since = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Stop after this many records."),
    ] = None,
    until_end: Annotated[
        bool,
        typer.Option(
            "--until-end", help="Stop where the topic ends now; starts with the oldest record."
        ),
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait for further records [default].")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show committed records of PIPELINE, by default from now on until Ctrl-C."""
    start = _start(from_beginning or (until_end and since is None), since)
    if follow and until_end:
        raise typer.BadParameter("it cannot be combined with --until-end", param_hint="--follow")
    settings = load_settings()
    decoder = Decoder(open_registry(settings.registry) if settings.registry.url else None)
    selection = RecordSelection(kind=kind, start=start, limit=limit, until_end=until_end)
    line = json_line if as_json else text_line
    with closing(client.consume(settings, load_pipeline(pipeline).name, selection)) as batches:
        write_lines(
            [line(message, decoder.readable(message)) for message in batch] for batch in batches
        )


def _start(from_beginning: bool, since: str | None) -> Start:
    """Where to start; epoch milliseconds for a time."""
    if since is None:
        return "beginning" if from_beginning else "now"
    if from_beginning:
        raise typer.BadParameter(
            "it cannot be combined with --from-beginning", param_hint="--since"
        )
    time = parse_since(since)
    if time is None:
        raise typer.BadParameter(
            "give 30s, 10m, 2h, 1d or 2026-01-31T12:00:00Z", param_hint="--since"
        )
    return time


def write_lines(batches: Iterable[list[bytes]]) -> None:
    """Lines to standard output, until they end or nobody reads them any more, as after `| head -1`."""
    output = sys.stdout.buffer
    try:
        for lines in batches:
            output.writelines(line + b"\n" for line in lines)
            output.flush()
            if not lines and _is_unread():
                raise BrokenPipeError
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or the interpreter complains as it ends


def _is_unread() -> bool:
    """Whether the other end of our pipe is closed, asked while there is nothing to write."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, AttributeError):  # no file, as in a test, or a system without poll
        return False
