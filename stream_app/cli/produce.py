"""`produce`: send a file to a pipeline."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.loading import load_pipeline
from stream_app.settings import load_settings
from stream_app.transfer.produce import produce_file

app = typer.Typer()


@app.command(epilog="Example: stream-app produce flights flights.jsonl --rate 100")
def produce(
    pipeline: PipelineArgument,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="JSON lines, CSV or Avro container; - is standard input."
        ),
    ],
    labels: Annotated[
        bool, typer.Option("--labels", help="Send labels instead of events.")
    ] = False,
    file_format: Annotated[
        Literal["json", "csv", "avro"] | None,
        typer.Option("--format", help="Of the file [default: by its extension; JSON lines for -]."),
    ] = None,
    encoding: Annotated[
        Literal["json", "avro"] | None,
        typer.Option(
            "--as", help="What is sent: JSON as it is, or Avro [default: the pipeline's format]."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.001, help="At most this many records a second."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a file's records to PIPELINE; a line that is no record, or cannot be Avro, is reported, the others go on."""
    loaded = load_pipeline(pipeline)
    done = produce_file(
        load_settings(),
        loaded,
        file,
        labels=labels,
        file_format=file_format,
        encoding=encoding,
        rate=rate,
    )
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(
            f"{done.topic}: {done.produced:,} produced, {done.bad:,} bad, {done.failed:,} failed"
        )
    raise typer.Exit(1 if done.bad or done.failed else 0)
