"""`produce`, `consume` and `export`: records between files and the topics of a pipeline."""

import os
import select
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.options import FormatOption, JsonOption, PipelineArgument, expand_options
from stream_app.core.reading.completeness import MAX_NAME, Completeness
from stream_app.formatting import iso_time
from stream_app.schema_registry import open_registry
from stream_app.transfer import consume as committed_records
from stream_app.transfer.completeness_sending import send_completeness
from stream_app.transfer.consume import RecordSelection, SelectedKind, Start, parse_since
from stream_app.transfer.produce import SENT_TWICE, produce_file
from stream_app.transfer.progress import report_progress
from stream_app.transfer.record_rendering import ValueDecoder, json_line, text_line

# Name of the source of labels that come from files.
DEFAULT_SOURCE = "produce"

app = typer.Typer()


@dataclass(frozen=True)
class LabelOptions:
    """Options that send labels instead of events."""

    labels: Annotated[bool, typer.Option("--labels", help="Send labels instead of events.")] = False
    source: Annotated[
        str, typer.Option(metavar="NAME", help="With --labels: name of their source.")
    ] = DEFAULT_SOURCE
    incomplete: Annotated[
        bool,
        typer.Option("--incomplete", help="With --labels: more labels of the same time follow."),
    ] = False


@app.command(epilog="Example: stream-app produce flights flights.jsonl --rate 100")
@expand_options
def produce(
    pipeline: PipelineArgument,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="JSON lines, CSV or Avro container; - is standard input."
        ),
    ],
    sent: LabelOptions,
    file_format: FormatOption = None,
    encoding: Annotated[
        Literal["json", "avro"] | None,
        typer.Option(
            "--as", help="Encoding of the values sent [default: the format of the pipeline]."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.001, help="Send at most this many records per second."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a file's records to PIPELINE; a line that is not a record is reported and skipped."""
    if len(sent.source) > MAX_NAME:
        raise typer.BadParameter(
            f"give a name of up to {MAX_NAME} characters", param_hint="--source"
        )
    context = CommandContext(pipeline, as_json)
    done = produce_file(
        context.settings,
        context.declaration,
        file,
        labels=sent.labels,
        file_format=file_format,
        encoding=encoding,
        rate=rate,
    )
    until = None
    if done.complete_until is not None and not sent.incomplete:
        statement = Completeness(sent.source, done.complete_until)
        send_completeness(context.settings, context.name, statement)
        until = iso_time(done.complete_until)
    context.write(
        {**asdict(done), "complete_until": until},
        f"{done.topic}: {done.produced:,} produced, {done.bad:,} bad, {done.failed:,} failed"
        + (f", {done.unconfirmed:,} unconfirmed" if done.unconfirmed else "")
        + (f", {done.unlabelled:,} without a label yet" if done.unlabelled else "")
        + (f"; complete until {until}" if until else ""),
    )
    if done.unconfirmed:
        typer.echo(f"Send the unconfirmed lines again: {SENT_TWICE}.", err=True)
    raise typer.Exit(1 if done.bad or done.failed or done.unconfirmed else 0)


@dataclass(frozen=True)
class ConsumeOptions:
    """Options that select records to consume."""

    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest record.")
    ] = False
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Start there: 30s, 10m, 2h, 1d ago, or an ISO time."),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Stop after this many records."),
    ] = None
    until_end: Annotated[
        bool,
        typer.Option(
            "--until-end",
            help="Stop at the present end of the topic; start with the oldest record.",
        ),
    ] = False
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait for further records [default].")
    ] = False

    def start(self) -> Start:
        """Return the start of reading; a time is in Unix milliseconds."""
        if self.since is None:
            return "beginning" if self.from_beginning or self.until_end else "now"
        if self.from_beginning:
            raise typer.BadParameter(
                "it cannot be combined with --from-beginning", param_hint="--since"
            )
        time = parse_since(self.since)
        if time is None:
            raise typer.BadParameter(
                "give 30s, 10m, 2h, 1d or 2026-01-31T12:00:00Z", param_hint="--since"
            )
        return time


@app.command(epilog="Example: stream-app consume flights scored --since 10m --json")
@expand_options
def consume(
    pipeline: PipelineArgument,
    kind: Annotated[
        SelectedKind,
        typer.Argument(metavar="KIND", help="Dead letters are those of events and of labels."),
    ],
    chosen: ConsumeOptions,
    as_json: JsonOption = False,
) -> None:
    """Show committed records of PIPELINE, by default from now on until Ctrl-C."""
    start = chosen.start()
    if chosen.follow and chosen.until_end:
        raise typer.BadParameter("it cannot be combined with --until-end", param_hint="--follow")
    context = CommandContext(pipeline, as_json)
    settings = context.settings
    decoder = ValueDecoder(open_registry(settings.registry) if settings.registry.url else None)
    selection = RecordSelection(
        kind=kind, start=start, limit=chosen.limit, until_end=chosen.until_end
    )
    line = json_line if as_json else text_line
    with closing(committed_records.consume(settings, context.name, selection)) as batches:
        write_lines(
            [line(message, decoder.to_json(message)) for message in batch] for batch in batches
        )


def write_lines(batches: Iterable[list[bytes]]) -> None:
    """Write lines to standard output until they end or its reader is gone, as after `| head -1`."""
    output = sys.stdout.buffer
    try:
        for lines in batches:
            output.writelines(line + b"\n" for line in lines)
            output.flush()
            if not lines and _is_unread():
                raise BrokenPipeError
    except BrokenPipeError:
        # The interpreter flushes standard output as it ends, and would report the broken pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_unread() -> bool:
    """Return True if the other end of standard output is closed."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, AttributeError):
        # Standard output is no file, as in a test, or the system has no poll.
        return False


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
    # It imports River, which `produce` and `consume` do not need.
    from stream_app.offline.example_export import ExampleExport, ExampleRange

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
