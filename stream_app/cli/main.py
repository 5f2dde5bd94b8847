"""Root of the commands, and the only place where an error becomes one line and an exit code."""

import os
import sys
import tempfile
import traceback
from typing import Annotated, NoReturn

import typer

from stream_app.cli.exit_codes import INTERRUPTED, UNEXPECTED, epilog
from stream_app.cli.lazy_group import LazyGroup
from stream_app.errors import StreamAppError

app = typer.Typer(
    name="stream-app",
    cls=LazyGroup,
    help="Event-driven streaming scoring on Kafka: exactly once, learning from delayed labels.",
    epilog=epilog(),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Log everything; show tracebacks of unexpected errors.")
    ] = False,
) -> None:
    """Set options of every command and of the processes that it starts."""
    if debug:
        os.environ["STREAM_APP_LOG__LEVEL"] = "debug"


def main() -> NoReturn:
    """Run the command line. A failure writes one line to standard error and sets a documented exit code."""
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
    """Print the traceback with --debug, else write it to a file; return where it is."""
    text = traceback.format_exc()
    if os.environ.get("STREAM_APP_LOG__LEVEL") == "debug":
        typer.echo(text, err=True)
        return "the traceback is above"
    with tempfile.NamedTemporaryFile(
        "w", prefix="stream-app-", suffix=".log", delete=False
    ) as file:
        file.write(text)
    return f"the traceback is in {file.name}"
