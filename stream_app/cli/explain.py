"""`explain`: the trace of one event."""

from typing import Annotated

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.options import JsonOption, PipelineArgument
from stream_app.core.reading.identity import key_is_id
from stream_app.dead_letters.dead_letter_selection import parse_time
from stream_app.errors import SelectionError
from stream_app.explain.event_finder import EventFinder
from stream_app.explain.event_trace import trace_lines, trace_object
from stream_app.explain.trace_builder import TraceBuilder
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.version_checks import VersionLoader

app = typer.Typer()


@app.command(epilog="Example: stream-app explain payments.py p1 --since 2d")
def explain(
    pipeline: PipelineArgument,
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="Id of the event, as text.")],
    key: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Key of the event, if events with several keys have the id. Several fields: their "
            "texts joined by /, with \\ before each / and \\ inside them.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Search records of this time or later: 30s, 2h, 3d or an ISO time.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the trace of an event of PIPELINE: records, features, score, label, learning."""
    context = CommandContext(pipeline, as_json)
    start = None if since is None else parse_time(since)
    settings, loaded = context.settings, context.pipeline
    if key not in (None, event_id) and key_is_id(loaded):
        raise SelectionError(
            f"The key of {loaded.name} is the event id, so --key {key} finds no event {event_id}",
            "Omit --key",
        )
    finder = EventFinder(settings, loaded, event_id, key, start)
    registry = ModelAdmin(settings, loaded.name).registry()
    trace = TraceBuilder(loaded, finder, registry, VersionLoader(settings, loaded)).build(event_id)
    context.write(trace_object(trace), *trace_lines(trace))
