"""`learning`: pause and resume learning, and show its status."""

import typer

from stream_app.cli.model_operations import SinceOption, open_for_operation
from stream_app.cli.models import ModelContext
from stream_app.cli.options import JsonOption, PipelineArgument, WhyOption, require_reason
from stream_app.model_admin import decisions
from stream_app.model_admin.decisions import learning_status
from stream_app.model_store.model_registry import reason

app = typer.Typer(no_args_is_help=True)


@app.command(epilog="Example: stream-app learning pause flights --why 'wrong labels'")
def pause(pipeline: PipelineArgument, why: WhyOption, as_json: JsonOption = False) -> None:
    """Pause learning of PIPELINE until it is resumed; scoring continues."""
    require_reason(why)
    context = open_for_operation(pipeline, as_json)
    decisions.pause(context.admin, reason(why))
    context.write({"paused": True}, "Learning is paused.")


@app.command(
    epilog="Example: stream-app learning resume flights --why 'labels corrected' --since 120000"
)
def resume(
    pipeline: PipelineArgument,
    why: WhyOption,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Resume learning of PIPELINE, with --since also of the examples skipped from that offset."""
    require_reason(why)
    context = open_for_operation(pipeline, as_json)
    decisions.resume(context.admin, reason(why), since)
    context.write({"paused": False}, "Learning is resumed.")


@app.command(epilog="Example: stream-app learning status flights --json")
def status(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Show if learning of PIPELINE is paused, by whom and why, and the progress of the learner."""
    context = ModelContext(pipeline, as_json)
    found = learning_status(context.admin)
    context.write(found._asdict(), *found.lines())
