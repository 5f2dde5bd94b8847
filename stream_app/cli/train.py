"""`train`: learn a model from files, and publish it as a version."""

import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from stream_app.cli.exit_codes import INTERRUPTED
from stream_app.cli.interruption import ended_by_ctrl_c, noting_ctrl_c
from stream_app.cli.model_operations import check_why
from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.formatting import iso_time
from stream_app.loading import load_pipeline
from stream_app.model_admin.decisions import reason
from stream_app.offline.simulation.simulation import open_trial
from stream_app.offline.simulation.simulation_summary import summarise
from stream_app.offline.simulation.summary_text import summary_lines
from stream_app.offline.training import Trained, Training
from stream_app.offline.version_publishing import Publisher
from stream_app.pipeline import Pipeline
from stream_app.settings import load_settings
from stream_app.telemetry.logs import setup_logging
from stream_app.transfer.input_files import Format
from stream_app.transfer.record_selection import parse_since
from stream_app.transfer.send_progress import reporter

app = typer.Typer()


@app.command(
    epilog="Example: stream-app train orders.py events.jsonl --labels labels.jsonl --yes --why 'first season'"
)
def train(
    pipeline: PipelineArgument,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Events: JSON lines, CSV or Avro container; - is standard input."
        ),
    ],
    labels: Annotated[
        str, typer.Option(metavar="FILE", help="Labels, each learned when its time comes.")
    ],
    measure_since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Measure only events from then on; those before are learned all the same.",
        ),
    ] = None,
    file_format: Annotated[
        Literal["json", "csv", "avro"] | None,
        typer.Option(
            "--format", help="Of the files [default: by their extensions; JSON lines for -]."
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Publish it; without, only say what it is worth.")
    ] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="With --yes: also serve it at once.")
    ] = False,
    why: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The reason, for the audit; needed with --yes."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Learn a model of PIPELINE from FILE as it would be learned live: each event is scored by what was known before
    it, each label learned when its time comes. With --yes it becomes a version, with these metrics and distributions.
    """
    if file == labels == "-":
        raise typer.BadParameter(
            "only one of the two files can be standard input", param_hint="--labels"
        )
    since = _since(measure_since)
    if yes:
        check_why(why)
    elif promote:
        raise typer.BadParameter("it takes --yes", param_hint="--promote")
    loaded = load_pipeline(pipeline)
    publisher = _publisher(loaded) if yes else None
    trained, summary = _train(loaded, file, labels, file_format, since)
    found: dict[str, Any] = {"done": yes, "summary": summary, "laboratory": trained.as_dict()}
    if publisher is not None:
        found |= _publish(publisher, trained, why or "", promote=promote)
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(_lines(loaded, found)))


def _since(text: str | None) -> int:
    time = 0 if text is None else parse_since(text)
    if time is None:
        raise typer.BadParameter("give 30d or 2026-01-31T12:00:00Z", param_hint="--measure-since")
    return time


def _publisher(pipeline: Pipeline) -> Publisher:
    """Opened before the work begins, so that what is missing shows at once."""
    settings = load_settings()
    setup_logging(settings.log, role="operator")
    return Publisher(settings, pipeline)


def _train(
    pipeline: Pipeline, file: str, labels: str, file_format: Format | None, since: int
) -> tuple[Trained, dict[str, Any]]:
    """What was learned, and the summary as of `try`; Ctrl-C ends the command."""
    started = time.monotonic()
    with (
        open_trial(pipeline, file, labels, None, file_format) as (trial, lines),
        noting_ctrl_c(trial) as stopped,
    ):
        training = Training(trial, since)
        with (
            reporter(f"training {pipeline.name}", lines.size) as progress,
            ended_by_ctrl_c(stopped),
        ):
            for count, _ in enumerate(training, start=1):
                progress.update(lines.position, count)
                if stopped:
                    break
        if stopped:
            typer.echo("Stopped before the end: nothing is published.", err=True)
            raise typer.Exit(INTERRUPTED)
        summary = summarise(trial, time.monotonic() - started, complete=True)
        return training.result(), summary


def _publish(publisher: Publisher, trained: Trained, why: str, *, promote: bool) -> dict[str, Any]:
    manifest = publisher.publish(trained, reason(why))
    if promote:
        publisher.promote(manifest, reason(why))
    return {"version": manifest.version, "sha256": manifest.sha256, "promoted": promote}


def _lines(pipeline: Pipeline, found: dict[str, Any]) -> Iterator[str]:
    """For people."""
    yield from summary_lines(found["summary"])
    laboratory = found["laboratory"]
    window, metrics = laboratory["window"], laboratory["metrics"]
    values = ", ".join(
        f"{name} {metrics[name]:.4f}" for name in pipeline.metrics if name in metrics
    )
    yield f"laboratory    {values}; of {window['n']:,} labels from {iso_time(window['start'])[:16]} on"
    yield ""
    if not found["done"]:
        yield "Nothing is published yet: add --yes and --why."
    elif found["promoted"]:
        yield f"Version {found['version']} is published, and served."
    else:
        yield f"Version {found['version']} is published; serve it with `stream-app models promote`."
