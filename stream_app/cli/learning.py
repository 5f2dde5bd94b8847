"""`learning`: hold it, resume it, and see how it is."""

import typer

from stream_app.cli.model_operations import SinceOption, WhyOption, check_why
from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.loading import load_pipeline
from stream_app.model_admin import decisions
from stream_app.model_admin.decisions import learning_status
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.settings import load_settings
from stream_app.telemetry.logs import setup_logging

app = typer.Typer(help="Learning: hold, resume, status.", no_args_is_help=True)


@app.command(epilog="Example: stream-app learning hold flights --why 'labels are being mended'")
def hold(pipeline: PipelineArgument, why: WhyOption, as_json: JsonOption = False) -> None:
    """Have the model of PIPELINE learn nothing until it is resumed; scoring goes on."""
    check_why(why)
    decisions.hold(_desk(pipeline), decisions.reason(why))
    print_json({"held": True}) if as_json else typer.echo("Learning is held.")


@app.command(
    epilog="Example: stream-app learning resume flights --why 'labels are mended' --since 120000"
)
def resume(
    pipeline: PipelineArgument,
    why: WhyOption,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the model of PIPELINE learn again from now on, or what was skipped since an offset too."""
    check_why(why)
    decisions.resume(_desk(pipeline), decisions.reason(why), since)
    print_json({"held": False}) if as_json else typer.echo("Learning goes on.")


@app.command(epilog="Example: stream-app learning status flights --json")
def status(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Show whether learning of PIPELINE is held, by whom and why, and how far the learner has come."""
    found = learning_status(ModelAdmin(load_settings(), load_pipeline(pipeline).name))
    if as_json:
        print_json(found._asdict())
    else:
        typer.echo("\n".join(found.lines()))


def _desk(pipeline: str) -> ModelAdmin:
    settings = load_settings()
    setup_logging(settings.log, role="operator")
    return ModelAdmin(settings, load_pipeline(pipeline).name)
