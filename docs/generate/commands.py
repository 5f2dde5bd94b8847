"""`commands.md`: every command, its options and an example."""

from collections.abc import Iterator
from typing import Any

import typer

from docs.generate.markdown import code, codes, fence, paragraphs, table
from stream_app.cli import app

_INTRODUCTION = """# Commands

`stream-app --debug` before any command logs everything. All commands have the same
[exit codes](errors.md#exit-codes).
"""


def page() -> str:
    """Returns the page, with one section for each command."""
    return "\n".join([_INTRODUCTION, *(_section(context) for context in contexts())])


def contexts() -> Iterator[Any]:
    """Yields the context of every command in the order of the program's help."""
    root = typer.main.get_command(app)
    yield from _leaves(typer.Context(root, info_name="stream-app"))


def _leaves(context: Any) -> Iterator[Any]:
    group = context.command
    if not hasattr(group, "list_commands"):
        yield context
        return
    for name in group.list_commands(context):
        yield from _leaves(
            typer.Context(group.get_command(context, name), parent=context, info_name=name)
        )


def _section(context: Any) -> str:
    command = context.command
    text, example = _split(command.help or "", command.epilog or "")
    shown = [parameter for parameter in command.get_params(context) if parameter.name != "help"]
    rows = [_row(*parameter.get_help_record(context)) for parameter in shown]
    return "\n".join(
        [
            f"## {context.command_path.removeprefix('stream-app ')}\n",
            paragraphs(text) + "\n",
            *([table(["argument or option", "meaning"], rows)] if rows else []),
            fence(example, "sh"),
        ]
    )


def _split(text: str, epilog: str) -> tuple[str, str]:
    """Returns the description and the example, which ends one of the texts."""
    before, _, example = f"{text}\n\n{epilog}".strip().rpartition("Example: ")
    return before, example


def _row(names: str, meaning: str) -> list[str]:
    """Returns a parameter's row from the terminal's help, with its choices as text.

    >>> _row("--role <score|learn>", "What it does.  [required]")
    ['`--role`', 'What it does. One of `score`, `learn`. [required]']
    >>> _row("--max <int range>", "How many.")
    ['`--max N`', 'How many.']
    """
    name, _, kind = names.removesuffix(">").partition(" <")
    if "|" in kind:
        choices = kind.removeprefix("list[").removesuffix("]").split("|")
        text, bracket, notes = meaning.partition(" [")
        return [
            code(name),
            f"{text.strip().removesuffix('.')}. One of {codes(choices)}.{bracket}{notes}",
        ]
    return [code(f"{name} N" if kind.startswith(("int", "float")) else name), meaning]
