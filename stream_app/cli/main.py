"""Root of the commands: their table, lazy imports, and the way from an error to an exit code."""

import gc
import os
import sys
import tempfile
import traceback
from collections import UserDict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

from stream_app.cli.exit_codes import INTERRUPTED, UNEXPECTED, epilog
from stream_app.cli.first_process import leave_first_process
from stream_app.deferred_imports import defer_river
from stream_app.errors import StreamAppError
from stream_app.interruption import InterruptHandler

_SERVICE_LINKS = ("STREAM_APP_SERVICE_", "STREAM_APP_PORT")


class LazyCommand(NamedTuple):
    """Command, or group of commands, of the program.

    Attributes:
        module: module in `stream_app.cli`.
        help: its line in `stream-app --help`.
        app: name of the `typer.Typer` in the module that is the group, or has the command.
    """

    module: str
    help: str
    app: str = "app"


COMMANDS = {
    "init": LazyCommand("init", "Write a pipeline that runs, with sample data and tests."),
    "try": LazyCommand("offline", "Run PIPELINE over files in memory, without Kafka."),
    "train": LazyCommand(
        "train", "Learn a model of PIPELINE from files or topics, and publish it."
    ),
    "export": LazyCommand("transfer", "Write examples of PIPELINE to a file."),
    "up": LazyCommand("up", "Run all of PIPELINE on one machine."),
    "worker": LazyCommand("worker", "Run one worker of PIPELINE in this process."),
    "produce": LazyCommand("transfer", "Send a file's records to PIPELINE."),
    "consume": LazyCommand("transfer", "Show committed records of PIPELINE."),
    "demo": LazyCommand("up", "Replay real flights; verify that no event is lost."),
    "status": LazyCommand("status", "Show the state of PIPELINE on one screen."),
    "doctor": LazyCommand("doctor", "Find problems and say how to fix them."),
    "explain": LazyCommand("explain", "Show the trace of one event of PIPELINE."),
    "reset": LazyCommand("cluster", "Delete all stored data of PIPELINE, to start it over."),
    "dead-letters": LazyCommand("dead_letters", "Dead letters: inspect, try, replay."),
    "models": LazyCommand("models", "Model versions: list, compare, verify, roll back, pin."),
    "labels": LazyCommand("labels", "Labels: say that all until a time were sent."),
    "learning": LazyCommand("learning", "Learning: pause, resume, exclude, include, status."),
    "alarms": LazyCommand("alarms", "Alarms of the monitor: list, acknowledge, silence."),
    "monitor": LazyCommand("monitoring", "Monitoring: length of windows, calibration."),
    "keys": LazyCommand("keys", "Signing keys of model versions: list, create, rotate, revoke."),
    "topics": LazyCommand("cluster", "Topics of a pipeline: create, show.", "topics"),
    "schemas": LazyCommand("cluster", "Avro schemas of a pipeline: check, register.", "schemas"),
    "acl": LazyCommand("cluster", "Access rights on the cluster, by role: show, apply.", "acl"),
    "broker": LazyCommand("broker", "The embedded Kafka broker: start, stop, status, logs."),
    "errors": LazyCommand("about", "Explain the codes of failed records and of commands."),
    "version": LazyCommand("about", "Show the installed version."),
}


@contextmanager
def _without_collection() -> Iterator[None]:
    """Collect no garbage while modules are imported: a tenth of their time, and they stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


class ImportedCommands(UserDict[str, Any]):
    """Commands by name; the module of one is imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if name != "worker":
            defer_river()
        with _without_collection():
            module = import_module(f"stream_app.cli.{command.module}")
        app: typer.Typer = getattr(module, command.app)
        app.rich_markup_mode = None
        group = typer.main.get_group(app)
        if name in group.commands:
            return group.commands[name]
        group.help = command.help
        return group


# Typer has no public name for the base class of its usage errors.
_UsageError: Any = typer.BadParameter.__base__


@contextmanager
def _usage_errors_on_one_line() -> Iterator[None]:
    """Make a usage error show itself as one line, like any other error."""
    try:
        yield
    except _UsageError as error:
        # Another `show` is that of a group without a command, which shows its help.
        if type(error).show is _UsageError.show:
            message = error.format_message().rstrip(".")
            path = error.ctx.command_path if error.ctx is not None else "stream-app"
            error.show = lambda: _report(f"{message}. See `{path} --help`")
        raise


class LazyGroup(TyperGroup):
    """Root of the commands. Its help lists `COMMANDS` and imports none of their modules."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = ImportedCommands(COMMANDS)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Return the context of the command line."""
        with _usage_errors_on_one_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command of the command line."""
        with _usage_errors_on_one_line():
            return super().invoke(ctx)

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
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log everything; show tracebacks of unexpected errors.")
    ] = False,
) -> None:
    """Set options of every command and of the processes that it starts."""
    if debug:
        os.environ["STREAM_APP_LOG__LEVEL"] = "debug"
    # A worker logs the warning.
    if context.invoked_subcommand != "worker":
        _warn_of_service_links()


def _warn_of_service_links() -> None:
    if any(variable.upper().startswith(_SERVICE_LINKS) for variable in os.environ):
        # Imports pydantic, which few commands without settings need.
        from stream_app.settings import service_links_warning

        warning = service_links_warning()
        if warning is not None:
            typer.echo(f"warning: {warning}", err=True)


def main() -> NoReturn:
    """Run the command line; a failure is one line on standard error and a documented exit code."""
    leave_first_process()
    interrupts = InterruptHandler()
    interrupts.install()
    try:
        app(prog_name="stream-app")
    except StreamAppError as error:
        _report(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if interrupts.has_been_called:
            sys.exit(INTERRUPTED)
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
