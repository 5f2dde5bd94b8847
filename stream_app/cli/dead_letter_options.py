"""The options that choose dead letters: the same for every command that looks at them or acts on them."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from stream_app.dead_letters.dead_letter_selection import (
    DeadLetterSelection,
    Source,
    parse_offsets,
    parse_time,
)

_Many = list[str] | None
_IdOption = Annotated[
    _Many, typer.Option("--id", metavar="ID", help="Error id, or how it begins; may be repeated.")
]
_GroupOption = Annotated[
    _Many,
    typer.Option(
        "--group", metavar="FINGERPRINT", help="Group, or how it begins; may be repeated."
    ),
]
_CodeOption = Annotated[
    _Many, typer.Option("--code", help="Error code, e.g. wrong-type; may be repeated.")
]
_ClassOption = Annotated[
    _Many, typer.Option("--class", help="Who has to act, e.g. contract; may be repeated.")
]
_StageOption = Annotated[
    _Many, typer.Option("--stage", help="Where it failed, e.g. validate; may be repeated.")
]
_KeyOption = Annotated[_Many, typer.Option("--key", help="Key of the record; may be repeated.")]
_SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Failed then or later: 2h, 3d or an ISO time.")
]
_UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Failed before that.")]
_SourceOption = Annotated[
    Source | None, typer.Option(help="Which input they come from [default: both].")
]
_PartitionOption = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Partition of the input.")
]
_OffsetsOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIRST-LAST", help="Offsets in the input, both included; either may be left out."
    ),
]
_WhereOption = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help="Python over the letter, run as your own code, e.g. \"record['carrier'] == 'AA'\"; "
        "record is None if it cannot be decoded.",
    ),
]

_OPTIONS: dict[str, Any] = {
    "group": _GroupOption,
    "code": _CodeOption,
    "error_class": _ClassOption,
    "stage": _StageOption,
    "since": _SinceOption,
    "until": _UntilOption,
    "key": _KeyOption,
    "error_id": _IdOption,
    "source": _SourceOption,
    "partition": _PartitionOption,
    "offsets": _OffsetsOption,
    "where": _WhereOption,
}


def selects(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in place of its parameter `selection`, the options that a `DeadLetterSelection` is made of.

    ``@app.command() @selects def drop(pipeline: PipelineArgument, selection: DeadLetterSelection) -> None: ...``
    """
    own = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += _expanded() if parameter.name == "selection" else [parameter]

    @wraps(command)
    def called(**arguments: Any) -> None:
        chosen = {name: arguments.pop(name) for name in _OPTIONS}
        command(**arguments, selection=_selection(**chosen))

    del called.__wrapped__  # or its signature would be looked at
    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _expanded() -> list[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(name, kind, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]


def _selection(
    group: _Many,
    code: _Many,
    error_class: _Many,
    stage: _Many,
    since: str | None,
    until: str | None,
    key: _Many,
    error_id: _Many,
    source: Source | None,
    partition: int | None,
    offsets: str | None,
    where: str | None,
) -> DeadLetterSelection:
    return DeadLetterSelection(
        ids=tuple(error_id or ()),
        groups=tuple(group or ()),
        codes=tuple(code or ()),
        classes=tuple(error_class or ()),
        stages=tuple(stage or ()),
        keys=tuple(one.encode() for one in key or ()),
        since=None if since is None else parse_time(since),
        until=None if until is None else parse_time(until),
        source=source,
        partition=partition,
        offsets=(None, None) if offsets is None else parse_offsets(offsets),
        where=where,
    )
