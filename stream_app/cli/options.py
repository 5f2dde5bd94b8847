"""Arguments and options that several commands share, and how they write their results."""

import inspect
import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from importlib import import_module
from typing import Annotated, Any, Literal, get_type_hints

import typer
from typer.core import TyperGroup

PipelineArgument = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE", help="Name of an example (flights), a file.py[:name] or a module:name."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON to standard output, for programs.")
]
SortOption = Annotated[
    bool, typer.Option("--sort", help="Sort the events by their event time, in memory.")
]
WhyOption = Annotated[str, typer.Option(metavar="TEXT", help="Reason, for the audit.")]
RelearnOption = Annotated[
    int | None,
    typer.Option(
        "--since",
        metavar="OFFSET",
        min=0,
        help="Relearn the examples of the log from this offset.",
    ),
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


def require_reason(why: str | None) -> None:
    """Raise a usage error if the reason is missing or blank."""
    if not (why and why.strip()):
        raise typer.BadParameter(
            "say why, for the audit, e.g. --why 'labels were wrong'", param_hint="--why"
        )


def print_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    typer.echo(json.dumps(value, default=str))


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of each parameter that is annotated with an options class.

    An options class is a dataclass whose fields are annotated as options of Typer:
    ``@expand_options def drop(pipeline: PipelineArgument, chosen: SelectionOptions) -> None``.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        parameters += _option_parameters(groups[name]) if name in groups else [parameter]

    @wraps(command)
    def expanded(**arguments: Any) -> None:
        built = {
            name: group(**{one.name: arguments.pop(one.name) for one in fields(group)})
            for name, group in groups.items()
        }
        command(**arguments, **built)

    # Typer would read the signature of the wrapped function.
    del expanded.__wrapped__
    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def continued_in(module: str) -> type[TyperGroup]:
    """Return the class of a group whose further commands are in another module.

    The module, which has them in its `app`, is imported when one of them is looked up.
    """

    class ContinuedGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [*self.commands, *_group().commands]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            return self.commands.get(cmd_name) or _group().commands.get(cmd_name)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args and self.get_command(ctx, args[0]) is None:
                # The error proposes the nearest of all names.
                self.commands = {**self.commands, **_group().commands}
            return super().resolve_command(ctx, args)

    def _group() -> TyperGroup:
        app: typer.Typer = import_module(module).app
        app.rich_markup_mode = None
        return typer.main.get_group(app)

    return ContinuedGroup


def _option_parameters(group: type[Any]) -> list[inspect.Parameter]:
    kind, hints = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        get_type_hints(group, include_extras=True),
    )
    return [
        inspect.Parameter(
            one.name,
            kind,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(group)
    ]
