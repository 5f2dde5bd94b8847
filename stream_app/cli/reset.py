"""`reset`: start a pipeline over."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.lifecycle.reset import Reset, await_no_workers, carry_out, plan_reset
from stream_app.lifecycle.up import alone, running_cluster
from stream_app.loading import load_pipeline
from stream_app.settings import load_settings
from stream_app.status.pipeline_view import PipelineView

app = typer.Typer()


@app.command(epilog="Example: stream-app reset flights --keep-raw --yes")
def reset(
    pipeline: PipelineArgument,
    keep_raw: Annotated[
        bool,
        typer.Option(
            "--keep-raw", help="Keep raw records and labels, to be processed anew, and the audit."
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Delete it, for good; without, only show what that would be."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete what PIPELINE has stored, topics, offsets and models, to start it over after a change.

    It refuses while workers run.
    """
    name, settings = load_pipeline(pipeline).name, load_settings()
    with running_cluster(settings), closing(PipelineView(settings, name)) as view:
        planned = plan_reset(view, keep_raw=keep_raw)
        if not as_json:
            _show(planned)
        if yes:
            with alone(settings, name):
                await_no_workers(view)
                carry_out(view, planned)
    if as_json:
        print_json({**asdict(planned), "done": yes})
    else:
        typer.echo(
            "Deleted." if yes else "Nothing is deleted yet: add --yes to delete it, for good."
        )


def _show(planned: Reset) -> None:
    """A line for everything that is deleted, and for what is kept."""
    typer.echo(f"What {planned.pipeline} has on {planned.cluster}, to be deleted:")
    for topic, count in planned.deleted.items():
        typer.echo(f"  topic {topic}: at most {count:,} records")
    typer.echo(f"  offsets of {', '.join(planned.groups)}")
    typer.echo("  every model version and checkpoint in the artifact store")
    for topic, count in planned.kept.items():
        typer.echo(f"Kept: topic {topic}, at most {count:,} records")
