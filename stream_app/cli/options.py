"""Arguments and options that several commands share, and how they write their results."""

import json
import shutil
import sys
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

# Columns of an output that is not a terminal.
_FILE_COLUMNS = 200

PipelineArgument = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE", help="Name of an example (flights), a file.py[:name] or a module:name."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON to standard output, for programs.")
]
EventsArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="Events: JSON lines, CSV or Avro container; - is standard input."
    ),
]
FormatOption = Annotated[
    Literal["json", "csv", "avro"] | None,
    typer.Option(
        "--format", help="Format of the input [default: by file extension; JSON lines for -]."
    ),
]


def print_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    typer.echo(json.dumps(value, default=str))


def report_console() -> Console:
    """Return standard output for tables: as wide as the terminal, else 200 columns."""
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((_FILE_COLUMNS, 0)).columns
    return Console(highlight=False, width=width)
