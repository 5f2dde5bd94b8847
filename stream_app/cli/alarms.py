"""`alarms`: alarms of the monitor: list, acknowledge, silence, unsilence."""

from dataclasses import asdict
from functools import cached_property
from typing import Annotated

import typer

from stream_app.cli.console import report_console
from stream_app.cli.context import CommandContext
from stream_app.cli.options import (
    JsonOption,
    PipelineArgument,
    WhyOption,
    require_reason,
)
from stream_app.clock import now_ms
from stream_app.core.alarms.alarm_record import ALARM_NAMES
from stream_app.formatting import iso_time
from stream_app.model_admin import alarm_admin as decisions
from stream_app.model_admin.alarm_admin import AlarmAdmin
from stream_app.model_store.model_registry import reason
from stream_app.status.alarm_status import monitor_alarms, silence_text, silences
from stream_app.status.status_rendering import monitor_alarm_table
from stream_app.transfer.consume import parse_duration

_MAX_DAYS = 90
_DAY_SECONDS = 86_400
# What alarms are about, besides the declared sources of labels.
_SOURCES = ("events", "inputs", "labels")

app = typer.Typer(no_args_is_help=True)

_NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help=f"Name of the alarms: {', '.join(ALARM_NAMES)}.")
]
_SourceOption = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Only alarms about this source [default: all sources]."),
]


class AlarmContext(CommandContext):
    """Context of a command about alarms."""

    @cached_property
    def admin(self) -> AlarmAdmin:
        """Admin client for the alarms of the pipeline."""
        return AlarmAdmin(self.settings, self.name)


@app.command("list", epilog="Example: stream-app alarms list flights --all")
def list_alarms(
    pipeline: PipelineArgument,
    with_closed: Annotated[
        bool, typer.Option("--all", help="Also list the alarms that are closed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the open alarms of PIPELINE with their states, and the silences in force."""
    context, now = AlarmContext(pipeline, as_json), now_ms()
    log = context.admin.alarms()
    alarms, silenced = monitor_alarms(log, now, closed=with_closed), silences(log, now)
    if not as_json and alarms:
        report_console().print(monitor_alarm_table(alarms, len(alarms)))
    lines = [] if alarms else ["No alarm was ever opened." if with_closed else "No alarm is open."]
    lines += [f"Silenced: {silence_text(one)}" for one in silenced]
    found = {
        "alarms": [asdict(one) for one in alarms],
        "silences": [asdict(one) for one in silenced],
    }
    context.write(found, *lines)


@app.command(
    epilog="Example: stream-app alarms acknowledge flights event-volume/events/2026-03-01T06:00Z "
    "--why 'asked the airline'"
)
def acknowledge(
    pipeline: PipelineArgument,
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of the alarm, as in the list.")],
    why: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """Say that an alarm of PIPELINE is in hand: it calls nobody any more, a new alarm does."""
    context = _operation(pipeline, why, as_json)
    decisions.acknowledge(context.admin, id_, reason(why))
    context.write({"id": id_, "state": "acknowledged"}, f"Alarm {id_} is acknowledged.")


@app.command(
    epilog="Example: stream-app alarms silence flights event-volume --for 3d --why 'a strike'"
)
def silence(
    pipeline: PipelineArgument,
    name: _NameArgument,
    duration: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Duration from now, such as 3d or 12h.")
    ],
    why: WhyOption,
    source: _SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let alarms of PIPELINE with a name call nobody for a time; they are raised and recorded."""
    context = _operation(pipeline, why, as_json)
    _check_alarm(context, name, source)
    now = reason(why)
    until = now.at + _parsed_duration(duration) * 1000
    found = decisions.silence(context.admin, name, source, until, now)
    context.write(
        {**found._asdict(), "until": iso_time(until)},
        f"Alarms {name}{_of(source)} call nobody until {iso_time(until)[:16]}.",
    )


@app.command(
    epilog="Example: stream-app alarms unsilence flights event-volume --why 'the strike is over'"
)
def unsilence(
    pipeline: PipelineArgument,
    name: _NameArgument,
    why: WhyOption,
    source: _SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a silence of PIPELINE before its time; with --source, the one of that source."""
    context = _operation(pipeline, why, as_json)
    found = decisions.unsilence(context.admin, name, source, reason(why))
    context.write(
        {**found._asdict(), "until": None}, f"The silence of {name}{_of(source)} has ended."
    )


def _operation(pipeline: str, why: str, as_json: bool) -> AlarmContext:
    """Return the context of a command that decides, and logs that to standard error."""
    require_reason(why)
    context = AlarmContext(pipeline, as_json)
    context.log_operations()
    return context


def _check_alarm(context: AlarmContext, name: str, source: str | None) -> None:
    """Raise a usage error for a name or a source that no alarm of the pipeline has."""
    if name not in ALARM_NAMES:
        raise typer.BadParameter(
            f"there are no alarms {name!r}; there are: {', '.join(ALARM_NAMES)}", param_hint="NAME"
        )
    sources = (*_SOURCES, *(one.source_name for one in context.declaration.label.sources))
    if source is not None and source not in sources:
        raise typer.BadParameter(
            f"no alarm is about {source!r}; alarms are about: {', '.join(sources)}",
            param_hint="--source",
        )


def _parsed_duration(text: str) -> int:
    """Return a duration in seconds.

    >>> _parsed_duration("3d")
    259200
    """
    seconds = parse_duration(text)
    if seconds is None or not 0 < seconds <= _MAX_DAYS * _DAY_SECONDS:
        raise typer.BadParameter(
            f"{text!r}: give a duration such as 12h or 3d, at most {_MAX_DAYS}d", param_hint="--for"
        )
    return seconds


def _of(source: str | None) -> str:
    return "" if source is None else f" of {source}"
