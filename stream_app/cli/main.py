"""The commands' root, and the one place where an error becomes a line and an exit code."""

import os
import sys
import tempfile
import traceback
from typing import Annotated, NoReturn

import typer

from stream_app.cli import (
    acl,
    broker,
    consume,
    dead_letters,
    demo,
    doctor,
    error_codes,
    explain,
    export,
    init,
    keys,
    learning,
    models,
    produce,
    reset,
    run,
    schemas,
    status,
    topics,
    train,
    try_files,
)
from stream_app.cli.exit_codes import INTERRUPTED, UNEXPECTED, epilog
from stream_app.errors import StreamAppError

app = typer.Typer(
    name="stream-app",
    help="Event-driven streaming scoring on Kafka: exactly once, learning from delayed labels.",
    epilog=epilog(),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
init.register(app)
try_files.register(app)
train.register(app)
export.register(app)
run.register(app)
produce.register(app)
consume.register(app)
demo.register(app)
status.register(app)
doctor.register(app)
error_codes.register(app)
explain.register(app)
reset.register(app)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(models.app, name="models")
app.add_typer(learning.app, name="learning")
app.add_typer(keys.app, name="keys")
app.add_typer(topics.app, name="topics")
app.add_typer(schemas.app, name="schemas")
app.add_typer(acl.app, name="acl")
app.add_typer(broker.app, name="broker")


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Log everything; show tracebacks of unexpected errors.")
    ] = False,
) -> None:
    """Set what holds for every command and the processes it starts."""
    if debug:
        os.environ["STREAM_APP_LOG__LEVEL"] = "debug"


@app.command(epilog="Example: stream-app version")
def version() -> None:
    """Show the installed version."""
    from stream_app.telemetry.metrics import app_version

    typer.echo(app_version())


def main() -> NoReturn:
    """Run the command line; every failure ends in one line on standard error and a documented exit code."""
    try:
        app(prog_name="stream-app")
    except StreamAppError as error:
        _report(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        _report(f"{type(error).__name__}: {error}. This is a bug; {_traceback()}")
        sys.exit(UNEXPECTED)
    sys.exit(0)


def _report(line: str) -> None:
    typer.echo("error: " + " ".join(line.split()), err=True)


def _traceback() -> str:
    """Show the traceback when debugging, else keep it in a file; says where it is."""
    text = traceback.format_exc()
    if os.environ.get("STREAM_APP_LOG__LEVEL") == "debug":
        typer.echo(text, err=True)
        return "the traceback is above"
    with tempfile.NamedTemporaryFile(
        "w", prefix="stream-app-", suffix=".log", delete=False
    ) as file:
        file.write(text)
    return f"the traceback is in {file.name}"
