"""Arguments and options that several commands share."""

import json
import shutil
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

_WIDE = 200  # columns of what is no terminal

PipelineArgument = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE", help="An example's name (flights), a file.py[:name] or a module:name."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON to standard output, for programs.")
]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, default=str))


def report_console() -> Console:
    """Standard output for reports: as wide as the terminal; wide where there is none, so that lines stay whole."""
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((_WIDE, 0)).columns
    return Console(highlight=False, width=width)
