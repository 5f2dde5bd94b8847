"""`try` and `train`: simulation of a pipeline over files, and training of a version from them."""

import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.exit_codes import INTERRUPTED
from stream_app.cli.options import (
    EventsArgument,
    FormatOption,
    JsonOption,
    PipelineArgument,
    SortOption,
    expand_options,
    require_reason,
)
from stream_app.formatting import iso_time
from stream_app.model_store.model_registry import reason
from stream_app.offline.simulation import (
    SampledSources,
    SimulatedRecord,
    Simulation,
    open_simulation,
)
from stream_app.offline.simulation_rendering import (
    is_failed,
    json_line,
    simulated_object,
    summary_lines,
    text_line,
)
from stream_app.offline.simulation_summary import summarise
from stream_app.offline.training import TrainedModel, Training, require_better_than_baseline
from stream_app.offline.version_publishing import TrainedModelPublisher
from stream_app.pipeline import Pipeline
from stream_app.transfer.consume import parse_since
from stream_app.transfer.input_files import is_table
from stream_app.transfer.progress import report_progress

app = typer.Typer()
# First and last events that are shown as text.
_SHOWN = 5
# Columns of an output that is not a terminal.
_FILE_COLUMNS = 2000


@contextmanager
def noting_ctrl_c(simulation: Simulation) -> Iterator[list[int]]:
    """Yield a list that the first Ctrl-C fills, so that the present record can be finished.

    A second Ctrl-C interrupts at once, and so does the first while the simulation waits for input.
    """
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, before)
        if simulation.reading:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ended_by_ctrl_c(noted: list[int]) -> Iterator[None]:
    """Continue after the block when Ctrl-C has ended it."""
    try:
        yield
    except KeyboardInterrupt:
        noted.append(signal.SIGINT)


@dataclass(frozen=True)
class SampleOptions:
    """Options that name the sources whose topics the files are samples of."""

    source: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="FILE is a sample of the topic of this source."),
    ] = None
    label_source: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The labels are a sample of the topic of this source."),
    ] = None

    @property
    def sources(self) -> SampledSources:
        """Names of the sources of events and of labels."""
        return SampledSources(self.source, self.label_source)


@dataclass(frozen=True)
class TryOptions:
    """Options that decide what is read and shown."""

    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Read only the first N events, with their labels."),
    ] = None
    file_format: FormatOption = None
    sort: SortOption = False
    failures: Annotated[
        bool, typer.Option("--failures", help="Show every record that fails, and no others.")
    ] = False
    as_json: JsonOption = False


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
    sort: SortOption = False
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
    options: TrainOptions,
    samples: SampleOptions,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Labels, each learned at its label time [default: those in a table of both].",
        ),
    ] = None,
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
    if labels is None:
        if not is_table(file, options.file_format, loaded):
            raise typer.BadParameter(
                f"give the file of labels: {file} has no field {loaded.label.field}",
                param_hint="--labels",
            )
        labels = file
    # Opened before the training, so that missing topics or keys are reported at once.
    publisher = (
        TrainedModelPublisher(context.log_operations().settings, loaded) if options.yes else None
    )
    trained, summary = _train(loaded, (file, labels), samples.sources, options, since)
    if options.promote and not options.force:
        require_better_than_baseline(trained)
    found: dict[str, Any] = {"done": options.yes, "summary": summary, "offline": trained.as_dict()}
    if publisher is not None:
        found |= _publish(publisher, trained, options.why or "", promote=options.promote)
    context.write(found, *_lines(loaded, found))


def _train(
    pipeline: Pipeline,
    files: tuple[str, str],
    sources: SampledSources,
    options: TrainOptions,
    since: int,
) -> tuple[TrainedModel, dict[str, Any]]:
    """Return the trained model, and the same summary as `try`; Ctrl-C ends the command."""
    started = time.monotonic()
    with (
        open_simulation(
            pipeline, *files, None, options.file_format, sources, sort=options.sort
        ) as (simulation, lines),
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


@app.command("try", epilog="Example: stream-app try orders.py events.jsonl --labels labels.jsonl")
@expand_options
def try_files(
    pipeline: PipelineArgument,
    file: EventsArgument,
    options: TryOptions,
    samples: SampleOptions,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Labels; each is learned at its time [default: those in a table of both].",
        ),
    ] = None,
) -> None:
    """Run PIPELINE over FILE in memory, without Kafka; show outcomes and the model's metrics."""
    if file == labels == "-":
        raise typer.BadParameter(
            "only one of the two files can be standard input", param_hint="--labels"
        )
    loaded = CommandContext(pipeline).pipeline
    started = time.monotonic()
    output = _JsonOutput() if options.as_json else _TextOutput(options.failures)
    with (
        open_simulation(
            loaded,
            file,
            labels,
            options.limit,
            options.file_format,
            samples.sources,
            sort=options.sort,
        ) as (
            simulation,
            lines,
        ),
        noting_ctrl_c(simulation) as stopped,
    ):
        with (
            report_progress(f"trying {loaded.name}", lines.size) as progress,
            ended_by_ctrl_c(stopped),
        ):
            for count, simulated in enumerate(simulation, start=1):
                if is_failed(simulated) or not options.failures:
                    output.show(simulated)
                progress.update(lines.position, count)
                if stopped:
                    break
        output.end(summarise(simulation, time.monotonic() - started, complete=not stopped))
    raise typer.Exit(INTERRUPTED if stopped else 0)


class _JsonOutput:
    """Writes an object per record at once, and the summary at the end."""

    def show(self, simulated: SimulatedRecord) -> None:
        self._write(simulated_object(simulated))

    def end(self, summary: dict[str, Any]) -> None:
        self._write(summary)

    def _write(self, fields: dict[str, Any]) -> None:
        sys.stdout.buffer.write(json_line(fields))
        sys.stdout.buffer.flush()


class _TextOutput:
    """Writes all at the end, below the progress bar: some events or all failures, and the summary.

    Lines are cut to the width of the terminal.
    """

    def __init__(self, failures: bool) -> None:
        self._failures = failures
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=_SHOWN)
        self._events = 0

    def show(self, simulated: SimulatedRecord) -> None:
        if self._failures:
            self._first.append(text_line(simulated))
        elif simulated.line.kind == "event":
            self._events += 1
            shown = self._first if self._events <= _SHOWN else self._last
            shown.append(text_line(simulated))

    def end(self, summary: dict[str, Any]) -> None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _FILE_COLUMNS
        between = self._events - 2 * _SHOWN
        more = [f"... {between:,} more, which --json shows"] if between > 0 else []
        shown = [line[:width] for line in (*self._first, *more, *self._last)]
        typer.echo("\n".join([*shown, *([""] if shown else []), *summary_lines(summary)]))
