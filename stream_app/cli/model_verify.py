"""`models verify`: learn a version again and compare."""

from typing import Annotated

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.errors import VerificationError
from stream_app.kafka.clients import client_config
from stream_app.kafka.log_reader import LogReader
from stream_app.loading import load_pipeline
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.model_rendering import verdict_line
from stream_app.model_admin.verification import Verifier
from stream_app.model_admin.version_checks import Checker
from stream_app.settings import load_settings
from stream_app.transfer.send_progress import reporter

app = typer.Typer()


@app.command(epilog="Example: stream-app models verify flights 1200")
def verify(
    pipeline: PipelineArgument,
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", help="[default: the served one]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Learn a model version of PIPELINE again from the log, and end with 12 unless it is the same, bit for bit."""
    settings, loaded = load_settings(), load_pipeline(pipeline)
    registry = ModelAdmin(settings, loaded.name).registry()
    chosen = registry.current.version if version is None else version
    reader = LogReader(client_config(settings), f"{loaded.name}-learn")
    with reporter("learning again", chosen) as progress:
        verdict = Verifier(loaded, reader, registry, Checker(settings, loaded)).verify(
            chosen, progress.update
        )
    if as_json:
        print_json({"reproduced": verdict.reproduced, **verdict._asdict()})
    if not verdict.reproduced:
        raise VerificationError(
            verdict_line(verdict),
            "See that the model is deterministic (seeds; `stream_app.transformers.Pick`), and who may write to the log",
        )
    if not as_json:
        typer.echo(verdict_line(verdict))
