"""`init`: write a starter pipeline, or the pipeline of a table or of topics."""

import os
import shlex
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.options import FormatOption, expand_options
from stream_app.settings import load_settings
from stream_app.starter.guess_rendering import guess_lines
from stream_app.starter.pipeline_guess import PipelineGuess
from stream_app.starter.role_guesses import ChosenColumns
from stream_app.starter.starter import (
    write_pipeline_of,
    write_starter,
)

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

_NEXT_STEPS_OF_TOPICS = """
Each guess has its reason in NAME.py and in the schemas. Next, without a broker:

  cd DIR
  TRY

On the cluster, with the last two in a second terminal:

  stream-app topics create NAME.py
  stream-app doctor NAME.py
  stream-app up NAME.py
  stream-app consume NAME.py scored --from-beginning
  stream-app status NAME.py"""


def _field_option(name: str, role: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        name,
        metavar="FIELD",
        help=f"With --from or --from-topic: column, or path, of {role} [default: guessed].",
    )
    return option


@dataclass(frozen=True)
class FieldOptions:
    """Options that name fields which need not be guessed."""

    label: Annotated[str | None, _field_option("--label", "the label")] = None
    event_id: Annotated[str | None, _field_option("--id", "the id of an event")] = None
    event_time: Annotated[str | None, _field_option("--time", "the time of an event")] = None


@dataclass(frozen=True)
class InputOptions:
    """Options that say what a pipeline is guessed from."""

    table: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Guess the pipeline from a table of events and labels: CSV, JSON lines, Avro.",
        ),
    ] = None
    topic: Annotated[
        str | None,
        typer.Option(
            "--from-topic", metavar="TOPIC", help="Guess the pipeline from a topic of events."
        ),
    ] = None
    label_topic: Annotated[
        str | None,
        typer.Option("--label-topic", metavar="TOPIC", help="With --from-topic: topic of labels."),
    ] = None
    file_format: FormatOption = None

    def check(self, fields: FieldOptions) -> None:
        """Raise a usage error for options that exclude or need each other."""
        if self.table is not None and self.topic is not None:
            raise typer.BadParameter("give it or --from", param_hint="--from-topic")
        if self.label_topic is not None and self.topic is None:
            raise typer.BadParameter("it needs --from-topic", param_hint="--label-topic")
        if self.file_format and self.table is None:
            raise typer.BadParameter("it is for a table, given with --from", param_hint="--format")
        if self.topic is not None and fields.label and self.label_topic is None:
            raise typer.BadParameter("it needs --label-topic", param_hint="--label")
        if self.table is None and self.topic is None and any(astuple(fields)):
            raise typer.BadParameter(
                "it is for a table or a topic, given with --from or --from-topic",
                param_hint="--label, --id or --time",
            )


@app.command(
    epilog="Example: stream-app init payments --from-topic shop.orders --label-topic shop.verdicts"
)
@expand_options
def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name of the pipeline: lower-case letters, digits, hyphens."
        ),
    ],
    inputs: InputOptions,
    fields: FieldOptions,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Folder to write into [default: ./NAME]."),
    ] = None,
) -> None:
    """Write a pipeline that runs: with sample data, from a table, or from topics.

    Overwrites no file.
    """
    inputs.check(fields)
    target = Path(name) if folder is None else folder
    chosen = ChosenColumns(fields.event_id, fields.event_time, fields.label)
    lines: list[str] = []
    if inputs.topic is not None:
        written, lines, command = _write_from_topics(name, target, inputs, chosen)
        steps = _NEXT_STEPS_OF_TOPICS.replace("TRY", command)
    elif inputs.table is not None:
        written, guess = write_pipeline_of(name, target, inputs.table, chosen, inputs.file_format)
        lines = list(guess_lines(guess))
        steps = _table_steps(guess, os.path.relpath(inputs.table, target))
    else:
        written, steps = write_starter(name, target), _NEXT_STEPS
    typer.echo(f"{target}: {', '.join(path.name for path in written)}")
    if lines:
        typer.echo("\n".join(lines))
    typer.echo(steps.replace("NAME", name).replace("DIR", shlex.quote(str(target))))


def _write_from_topics(
    name: str, folder: Path, inputs: InputOptions, chosen: ChosenColumns
) -> tuple[list[Path], list[str], str]:
    """Return the paths that were written, the guesses, and the command to run next."""
    # They import the clients of Kafka, which takes half a second.
    from stream_app.starter.generated_sources import first_command
    from stream_app.starter.topic_rendering import topic_guess_lines
    from stream_app.starter.topic_starter import ChosenTopics, write_pipeline_of_topics

    topics = ChosenTopics(inputs.topic or "", inputs.label_topic)
    written, guess = write_pipeline_of_topics(name, folder, load_settings(), topics, chosen)
    return written, list(topic_guess_lines(guess)), first_command(name, guess)


def _table_steps(guess: PipelineGuess, path: str) -> str:
    sort = " --sort" if guess.must_be_sorted else ""
    steps = _NEXT_STEPS_OF_TABLE.replace("SORT", sort).replace("TABLE", shlex.quote(path))
    if sort:
        steps += "\n\nSort the table by its time before you produce it: it is far from order."
    return steps
