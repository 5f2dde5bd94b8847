"""`explain`: what became of one event, and why."""

from typing import Annotated

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.dead_letters.dead_letter_selection import parse_time
from stream_app.explain.event_finder import EventFinder
from stream_app.explain.event_trace import story_lines, story_object
from stream_app.explain.trace_builder import TraceBuilder
from stream_app.loading import load_pipeline
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.version_checks import Checker
from stream_app.settings import load_settings

app = typer.Typer()


@app.command(epilog="Example: stream-app explain payments.py p1 --since 2d")
def explain(
    pipeline: PipelineArgument,
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event's id, as text.")],
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Search what was sent then or later: 30s, 2h, 3d or an ISO time."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what became of an event of PIPELINE: its records, cleaning, features, score, label, and who learned it."""
    start = None if since is None else parse_time(since)
    settings, loaded = load_settings(), load_pipeline(pipeline)
    finder = EventFinder(settings, loaded, event_id, start)
    registry = ModelAdmin(settings, loaded.name).registry()
    story = TraceBuilder(loaded, finder, registry, Checker(settings, loaded)).tell(event_id)
    if as_json:
        print_json(story_object(story))
    else:
        typer.echo("\n".join(story_lines(story)))
