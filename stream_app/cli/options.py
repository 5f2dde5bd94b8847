"""Arguments and options that several commands share."""

import json
from typing import Annotated, Any

import typer

PipelineArgument = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="An example's name (flights), a file.py[:name] or a module:name.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, for programs.")]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, default=str))
