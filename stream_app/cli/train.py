"""`train`: learn a model from files, and publish it as a version."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.exit_codes import INTERRUPTED
from stream_app.cli.interruption import ended_by_ctrl_c, noting_ctrl_c
from stream_app.cli.options import (
    EventsArgument,
    FormatOption,
    JsonOption,
    PipelineArgument,
    expand_options,
    require_reason,
)
from stream_app.formatting import iso_time
from stream_app.model_store.model_registry import reason
from stream_app.offline.simulation import open_simulation
from stream_app.offline.simulation_rendering import summary_lines
from stream_app.offline.simulation_summary import summarise
from stream_app.offline.training import TrainedModel, Training, require_better_than_baseline
from stream_app.offline.version_publishing import TrainedModelPublisher
from stream_app.pipeline import Pipeline
from stream_app.transfer.consume import parse_since
from stream_app.transfer.progress import report_progress

app = typer.Typer()


@dataclass(frozen=True)
class TrainOptions:
    """Options that decide what is measured, and what becomes of the trained model.

    Raises:
        typer.BadParameter: `--yes` without a reason, or `--promote` without `--yes`.
    """

    measure_since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Measure only events from this time; earlier ones are learned too."
        ),
    ] = None
    file_format: FormatOption = None
    sort: Annotated[
        bool, typer.Option("--sort", help="Sort the events by their event time, in memory.")
    ] = False
    yes: Annotated[
        bool, typer.Option("--yes", help="Publish the version; without, only measure it.")
    ] = False
    promote: Annotated[
        bool, typer.Option("--promote", help="With --yes: also serve it at once.")
    ] = False
    force: Annotated[
        bool,
        typer.Option("--force", help="With --promote: serve it even if it is no better than none."),
    ] = False
    why: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Reason, for the audit; required with --yes."),
    ] = None
    as_json: JsonOption = False

    def __post_init__(self) -> None:
        if self.yes:
            require_reason(self.why)
        elif self.promote:
            raise typer.BadParameter("it requires --yes", param_hint="--promote")

    @property
    def since(self) -> int:
        """Start of the measured events in Unix milliseconds, 0 for all events."""
        since = 0 if self.measure_since is None else parse_since(self.measure_since)
        if since is None:
            raise typer.BadParameter(
                "give 30d or 2026-01-31T12:00:00Z", param_hint="--measure-since"
            )
        return since


@app.command(
    epilog="Example: stream-app train orders.py events.jsonl --labels labels.jsonl --yes "
    "--why 'first season'"
)
@expand_options
def train(
    pipeline: PipelineArgument,
    file: EventsArgument,
    labels: Annotated[
        str, typer.Option(metavar="FILE", help="Labels, each learned at its label time.")
    ],
    options: TrainOptions,
) -> None:
    """Learn a model of PIPELINE offline, from files, in the order in which it would learn online.

    Each event is scored before its label is learned, and each label is learned at its label time.
    With --yes the model is published as a version, with its offline metrics and distributions.
    """
    if file == labels == "-":
        raise typer.BadParameter(
            "only one of the two files can be standard input", param_hint="--labels"
        )
    since = options.since
    context = CommandContext(pipeline, options.as_json)
    loaded = context.pipeline
    # Opened before the training, so that missing topics or keys are reported at once.
    publisher = (
        TrainedModelPublisher(context.log_operations().settings, loaded) if options.yes else None
    )
    trained, summary = _train(loaded, file, labels, options, since)
    if options.promote and not options.force:
        require_better_than_baseline(trained)
    found: dict[str, Any] = {"done": options.yes, "summary": summary, "offline": trained.as_dict()}
    if publisher is not None:
        found |= _publish(publisher, trained, options.why or "", promote=options.promote)
    context.write(found, *_lines(loaded, found))


def _train(
    pipeline: Pipeline, file: str, labels: str, options: TrainOptions, since: int
) -> tuple[TrainedModel, dict[str, Any]]:
    """Return the trained model, and the same summary as `try`; Ctrl-C ends the command."""
    started = time.monotonic()
    with (
        open_simulation(pipeline, file, labels, None, options.file_format, sort=options.sort) as (
            simulation,
            lines,
        ),
        noting_ctrl_c(simulation) as stopped,
    ):
        training = Training(simulation, since)
        with (
            report_progress(f"training {pipeline.name}", lines.size) as progress,
            ended_by_ctrl_c(stopped),
        ):
            for count, _ in enumerate(training, start=1):
                progress.update(lines.position, count)
                if stopped:
                    break
        if stopped:
            typer.echo("Stopped before the end: nothing is published.", err=True)
            raise typer.Exit(INTERRUPTED)
        summary = summarise(simulation, time.monotonic() - started, complete=True)
        return training.result(), summary


def _publish(
    publisher: TrainedModelPublisher, trained: TrainedModel, why: str, *, promote: bool
) -> dict[str, Any]:
    manifest = publisher.publish(trained, reason(why))
    if promote:
        publisher.promote(manifest, reason(why))
    return {"version": manifest.version, "sha256": manifest.sha256, "promoted": promote}


def _lines(pipeline: Pipeline, found: dict[str, Any]) -> Iterator[str]:
    yield from summary_lines(found["summary"])
    offline = found["offline"]
    window, metrics = offline["window"], offline["metrics"]
    values = ", ".join(
        f"{name} {metrics[name]:.4f}" for name in pipeline.metrics if name in metrics
    )
    start = iso_time(window["start"])[:16]
    yield f"offline       {values}; of {window['n']:,} labels from {start} on"
    yield ""
    if not found["done"]:
        yield "Nothing is published yet: add --yes and --why."
    elif found["promoted"]:
        yield f"Version {found['version']} is published and served."
    else:
        yield f"Version {found['version']} is published; serve it with `stream-app models promote`."
