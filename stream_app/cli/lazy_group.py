"""The table of commands, and a group that imports the module of a command when it is named."""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup


class LazyCommand(NamedTuple):
    """Command, or group of commands, of the program.

    Attributes:
        module: module whose `app` is the group, or has the command.
        help: its line in `stream-app --help`.
    """

    module: str
    help: str


_CLI = "stream_app.cli"
COMMANDS = {
    "init": LazyCommand(f"{_CLI}.init", "Write a pipeline that runs, with sample data and tests."),
    "try": LazyCommand(f"{_CLI}.try_files", "Run PIPELINE over files in memory, without Kafka."),
    "train": LazyCommand(f"{_CLI}.train", "Learn a model of PIPELINE from files, and publish it."),
    "export": LazyCommand(f"{_CLI}.export", "Write examples of PIPELINE to a file."),
    "up": LazyCommand(f"{_CLI}.run", "Run all of PIPELINE on one machine."),
    "worker": LazyCommand(f"{_CLI}.run", "Run one worker of PIPELINE in this process."),
    "produce": LazyCommand(f"{_CLI}.produce", "Send a file's records to PIPELINE."),
    "consume": LazyCommand(f"{_CLI}.consume", "Show committed records of PIPELINE."),
    "demo": LazyCommand(f"{_CLI}.demo", "Replay real flights and verify that no event is lost."),
    "status": LazyCommand(f"{_CLI}.status", "Show on one screen what PIPELINE is doing."),
    "doctor": LazyCommand(f"{_CLI}.doctor", "Find problems and say how to fix them."),
    "explain": LazyCommand(f"{_CLI}.explain", "Show what happened to one event of PIPELINE."),
    "reset": LazyCommand(f"{_CLI}.reset", "Delete all that PIPELINE has stored, to start it over."),
    "dead-letters": LazyCommand(f"{_CLI}.dead_letters", "Dead letters: inspect, try, replay."),
    "models": LazyCommand(f"{_CLI}.models", "Model versions: list, compare, verify, roll back."),
    "learning": LazyCommand(f"{_CLI}.learning", "Learning: pause, resume, status."),
    "keys": LazyCommand(f"{_CLI}.keys", "Signing keys: list, create, rotate, revoke."),
    "topics": LazyCommand(f"{_CLI}.topics", "Topics of a pipeline: create, show."),
    "schemas": LazyCommand(f"{_CLI}.schemas", "Avro schemas of a pipeline: check, register."),
    "acl": LazyCommand(f"{_CLI}.acl", "Access rights on the cluster, by role: show, apply."),
    "broker": LazyCommand(
        "stream_app.broker.broker_commands", "Embedded Kafka: start, stop, logs."
    ),
    "errors": LazyCommand(f"{_CLI}.about", "Explain the codes of failed records and of commands."),
    "version": LazyCommand(f"{_CLI}.about", "Show the installed version."),
}


class LazyGroup(TyperGroup):
    """Root of the commands. Its help lists `COMMANDS` and imports none of their modules."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and return the command or group of that name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        app: typer.Typer = import_module(COMMANDS[cmd_name].module).app
        app.rich_markup_mode = None
        group = typer.main.get_group(app)
        return group.commands.get(cmd_name, group)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names of the commands, each with its line."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])
