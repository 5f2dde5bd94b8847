"""`init`: write a starter pipeline, or the pipeline of a table."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.options import FormatOption
from stream_app.starter.pipeline_guess import PipelineGuess
from stream_app.starter.role_guesses import ChosenColumns
from stream_app.starter.starter import write_pipeline_of, write_starter

app = typer.Typer()

_NEXT_STEPS = """
Next, without a broker:

  cd DIR
  stream-app try NAME.py events.jsonl --labels labels.jsonl
  pytest

On a real Kafka, with the last three in a second terminal:

  stream-app up NAME.py
  stream-app produce NAME.py labels.jsonl --labels
  stream-app produce NAME.py events.jsonl --rate 50
  stream-app consume NAME.py scored --from-beginning

Then adapt it: comments in NAME.py explain each part."""

_NEXT_STEPS_OF_TABLE = """
Each guess has its reason in NAME.py and in the schemas. Next, without a broker:

  cd DIR
  stream-app try NAME.py TABLESORT
  stream-app train NAME.py TABLESORT

On a real Kafka, with the last three in a second terminal:

  stream-app up NAME.py
  stream-app produce NAME.py TABLE --labels
  stream-app produce NAME.py TABLE
  stream-app consume NAME.py scored --from-beginning"""


def _column_option(name: str, role: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        name, metavar="COLUMN", help=f"With --from: column with {role} [default: guessed]."
    )
    return option


@app.command(epilog="Example: stream-app init payments --from payments.csv --label fraud")
def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name of the pipeline: lower-case letters, digits, hyphens."
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Folder to write into [default: ./NAME]."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Guess the pipeline from a table of events and labels: CSV, JSON lines, Avro.",
        ),
    ] = None,
    label: Annotated[str | None, _column_option("--label", "the label")] = None,
    event_id: Annotated[str | None, _column_option("--id", "the id of an event")] = None,
    event_time: Annotated[str | None, _column_option("--time", "the time of an event")] = None,
    file_format: FormatOption = None,
) -> None:
    """Write a pipeline that runs, with sample data or from a table; overwrites no file."""
    target = Path(name) if folder is None else folder
    chosen = ChosenColumns(event_id, event_time, label)
    if table is None:
        if any(chosen) or file_format:
            raise typer.BadParameter("it is for a table, given with --from", param_hint="--label")
        written, guess, steps = write_starter(name, target), None, _NEXT_STEPS
    else:
        written, guess = write_pipeline_of(name, target, table, chosen, file_format)
        path = shlex.quote(os.path.relpath(table, target))
        sort = " --sort" if guess.must_be_sorted else ""
        steps = _NEXT_STEPS_OF_TABLE.replace("SORT", sort).replace("TABLE", path)
        if sort:
            steps += "\n\nSort the table by its time before you produce it: it is far from order."
    typer.echo(f"{target}: {', '.join(path.name for path in written)}")
    if guess is not None:
        typer.echo("\n".join(_guesses(guess)))
    typer.echo(steps.replace("NAME", name).replace("DIR", shlex.quote(str(target))))


def _guesses(guess: PipelineGuess) -> Iterator[str]:
    """Yield the guesses, one a line, with their reasons."""
    known, timing = guess.timing.time, guess.timing
    label_time = f"time of label  {known.name}" if known else f"delay          {timing.delay}"
    numbers, words = (
        [role.column.name for role in roles] for roles in (guess.numbers, guess.words)
    )
    yield f"id             {guess.event_id.column.name}: {guess.event_id.reason}"
    yield f"time           {guess.event_time.column.name}: {guess.event_time.reason}"
    yield f"label          {guess.label.column.name}: {guess.label.reason}; {guess.values.reason}"
    yield f"{label_time}: {timing.reason}"
    yield f"features       {', '.join([*numbers, *words]) or 'hour and weekday only'}"
    yield f"order          {guess.order}"
    for role in guess.left_out:
        yield f"left out       {role.column.name}: {role.reason}"
