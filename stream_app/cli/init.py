"""`init`: write a starter pipeline."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from stream_app.starter.starter import write_starter

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


@app.command(epilog="Example: stream-app init payments")
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
) -> None:
    """Write a pipeline that runs, with sample data and tests, to adapt; overwrites no file."""
    target = Path(name) if folder is None else folder
    written = write_starter(name, target)
    typer.echo(f"{target}: {', '.join(path.name for path in written)}")
    typer.echo(_NEXT_STEPS.replace("NAME", name).replace("DIR", shlex.quote(str(target))))
