"""Root of the commands: their table, lazy imports, and the way from an error to an exit code."""

import os
import sys
import tempfile
import traceback
from collections import UserDict
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

from stream_app.cli.exit_codes import INTERRUPTED, UNEXPECTED, epilog
from stream_app.errors import StreamAppError


class LazyCommand(NamedTuple):
    """Command, or group of commands, of the program.

    Attributes:
        target: `module:attribute` of the `typer.Typer` that is the group, or has the command.
        help: its line in `stream-app --help`.
    """

    target: str
    help: str


_CLI = "stream_app.cli"
_BROKER = "stream_app.broker.broker_commands"
COMMANDS = {
    "init": LazyCommand(f"{_CLI}.init:app", "Write a pipeline that runs, with data and tests."),
    "try": LazyCommand(f"{_CLI}.try_files:app", "Run PIPELINE over files, without Kafka."),
    "train": LazyCommand(f"{_CLI}.train:app", "Learn a model of PIPELINE from files."),
    "export": LazyCommand(f"{_CLI}.export:app", "Write examples of PIPELINE to a file."),
    "up": LazyCommand(f"{_CLI}.up:app", "Run all of PIPELINE on one machine."),
    "worker": LazyCommand(f"{_CLI}.worker:app", "Run one worker of PIPELINE in this process."),
    "produce": LazyCommand(f"{_CLI}.transfer:app", "Send a file's records to PIPELINE."),
    "consume": LazyCommand(f"{_CLI}.transfer:app", "Show committed records of PIPELINE."),
    "demo": LazyCommand(f"{_CLI}.up:app", "Replay real flights; verify that none is lost."),
    "status": LazyCommand(f"{_CLI}.status:app", "Show the state of PIPELINE on one screen."),
    "doctor": LazyCommand(f"{_CLI}.doctor:app", "Find problems and say how to fix them."),
    "explain": LazyCommand(f"{_CLI}.explain:app", "Show the trace of one event of PIPELINE."),
    "reset": LazyCommand(f"{_CLI}.cluster:app", "Delete all stored data of PIPELINE."),
    "dead-letters": LazyCommand(f"{_CLI}.dead_letters:app", "Dead letters: inspect, try, replay."),
    "models": LazyCommand(f"{_CLI}.models:app", "Model versions: list, compare, roll back."),
    "learning": LazyCommand(f"{_CLI}.learning:app", "Learning: pause, resume, status."),
    "keys": LazyCommand(f"{_CLI}.keys:app", "Signing keys: list, create, rotate, revoke."),
    "topics": LazyCommand(f"{_CLI}.cluster:topics", "Topics of a pipeline: create, show."),
    "schemas": LazyCommand(f"{_CLI}.schemas:app", "Avro schemas of a pipeline: check, register."),
    "acl": LazyCommand(f"{_CLI}.cluster:acl", "Access rights by role: show, apply."),
    "broker": LazyCommand(f"{_BROKER}:app", "Embedded Kafka broker: start, stop, status, logs."),
    "errors": LazyCommand(f"{_CLI}.about:app", "Explain error codes and exit codes."),
    "version": LazyCommand(f"{_CLI}.about:app", "Show the installed version."),
}


class ImportedCommands(UserDict[str, Any]):
    """Commands by name; the module of one is imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = super().__getitem__(name).target.partition(":")
        app: typer.Typer = getattr(import_module(module), attribute)
        app.rich_markup_mode = None
        group = typer.main.get_group(app)
        return group.commands.get(name, group)


class LazyGroup(TyperGroup):
    """Root of the commands. Its help lists `COMMANDS` and imports none of their modules."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = ImportedCommands(COMMANDS)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names of the commands, each with its line."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])


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
    """Run the command line; a failure is one line on standard error and a documented exit code."""
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
