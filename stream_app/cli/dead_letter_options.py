"""Options of the commands about dead letters: those that select them, and those of a replay."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from stream_app.cli.options import JsonOption, require_reason
from stream_app.dead_letters.dead_letter_selection import (
    DeadLetterSelection,
    Source,
    parse_offsets,
    parse_time,
)

_Texts = list[str] | None

EditOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE:FUNCTION", help="Your function that fixes each dead letter beforehand."
    ),
]


@dataclass(frozen=True)
class SelectionOptions:
    """Options that select dead letters, the same for every command."""

    group: Annotated[
        _Texts,
        typer.Option("--group", metavar="FINGERPRINT", help="Group or its prefix; repeatable."),
    ] = None
    code: Annotated[
        _Texts, typer.Option("--code", help="Error code, e.g. wrong-type; repeatable.")
    ] = None
    error_class: Annotated[
        _Texts, typer.Option("--class", help="Error class, e.g. contract; repeatable.")
    ] = None
    stage: Annotated[
        _Texts, typer.Option("--stage", help="Stage that failed, e.g. validate; repeatable.")
    ] = None
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Failed at this time or later: 2h, 3d or an ISO time."),
    ] = None
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Failed before this time.")] = (
        None
    )
    key: Annotated[_Texts, typer.Option("--key", help="Key of the record; repeatable.")] = None
    error_id: Annotated[
        _Texts, typer.Option("--id", metavar="ID", help="Error id or its prefix; repeatable.")
    ] = None
    source: Annotated[
        Source | None, typer.Option(help="Input that the record came from [default: both].")
    ] = None
    partition: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Partition of the input.")
    ] = None
    offsets: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST-LAST", help="Offsets in the input, both included; either may be omitted."
        ),
    ] = None
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPRESSION",
            help="Python expression over the dead letter, run as your own code, "
            "e.g. \"record['carrier'] == 'AA'\"; record is None if it cannot be decoded.",
        ),
    ] = None

    def selection(self) -> DeadLetterSelection:
        """Return the selection; raises `SelectionError` for a time or range in a wrong format."""
        return DeadLetterSelection(
            ids=tuple(self.error_id or ()),
            groups=tuple(self.group or ()),
            codes=tuple(self.code or ()),
            classes=tuple(self.error_class or ()),
            stages=tuple(self.stage or ()),
            keys=tuple(one.encode() for one in self.key or ()),
            since=None if self.since is None else parse_time(self.since),
            until=None if self.until is None else parse_time(self.until),
            source=self.source,
            partition=self.partition,
            offsets=(None, None) if self.offsets is None else parse_offsets(self.offsets),
            where=self.where,
        )


@dataclass(frozen=True)
class OperationOptions:
    """Options of every operation.

    Raises:
        typer.BadParameter: `--yes` is given without a reason.
    """

    why: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Reason for the audit; required with --yes."),
    ] = None
    yes: Annotated[
        bool, typer.Option("--yes", help="Carry it out; without this option it is a dry run.")
    ] = False
    as_json: JsonOption = False

    def __post_init__(self) -> None:
        if self.yes:
            require_reason(self.why)

    @property
    def reason(self) -> str:
        """Reason for the audit, "" in a dry run without one."""
        return self.why or ""


@dataclass(frozen=True)
class ReplayOptions:
    """Options of a replay."""

    edit: EditOption = None
    to: Annotated[
        Literal["replay", "source"],
        typer.Option(help="Destination: the topic for replays, or the topic of origin."),
    ] = "replay"
    learn: Annotated[bool, typer.Option(help="Learn from the replayed events.")] = True
    model: Annotated[
        int | None,
        typer.Option(
            metavar="VERSION", help="Model version to score with [default: the served one]."
        ),
    ] = None
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="N", min=0.1, help="Records per second [default: as fast as they are scored]."
        ),
    ] = None
    max_failure_rate: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="Share that may fail again; the replay stops beyond it.",
        ),
    ] = 0.2
    max_replays: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Replays of a dead letter after which it is parked instead."
        ),
    ] = 3
    force: Annotated[
        bool, typer.Option("--force", help="Send them even if they would fail again.")
    ] = False
    replay_id: Annotated[
        str | None,
        typer.Option(
            "--replay-id", metavar="NAME", help="Name of the replay to start or to resume."
        ),
    ] = None
