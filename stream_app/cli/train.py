"""`train`: training of a version from files or topics."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Protocol

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.exit_codes import INTERRUPTED
from stream_app.cli.offline import SampleOptions, ended_by_ctrl_c, noting_ctrl_c
from stream_app.cli.options import (
    FormatOption,
    JsonOption,
    PipelineArgument,
    SortOption,
    expand_options,
    require_reason,
)
from stream_app.formatting import counted, iso_time
from stream_app.model_store.model_registry import reason
from stream_app.offline.simulation import SampledSources, Simulation, open_simulation
from stream_app.offline.simulation_rendering import summary_lines
from stream_app.offline.simulation_summary import summarise
from stream_app.offline.topic_simulation import TopicSimulation, open_topic_simulation
from stream_app.offline.training import TrainedModel, Training, require_better_than_baseline
from stream_app.offline.version_publishing import TrainedModelPublisher
from stream_app.pipeline import Pipeline
from stream_app.transfer.consume import parse_since
from stream_app.transfer.input_files import is_table
from stream_app.transfer.progress import report_progress

app = typer.Typer()


@dataclass(frozen=True)
class TrainOptions:
    """Options that decide what is measured, and what becomes of the trained model.

    Raises:
        typer.BadParameter: `--yes` without a reason, or `--promote` without `--yes`.
    """

    from_topics: Annotated[
        bool,
        typer.Option(
            "--from-topics", help="Instead of FILE, read what the topics of PIPELINE have now."
        ),
    ] = False
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
    options: TrainOptions,
    samples: SampleOptions,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", help="Events: JSON lines, CSV or Avro container; - is standard input."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Labels, each learned at its label time [default: those in a table of both].",
        ),
    ] = None,
) -> None:
    """Learn a model of PIPELINE, from files or topics, in the order in which it would learn online.

    Each event is scored before its label is learned, and each label is learned at its label time.
    With --yes the model is published as a version, with its offline metrics and distributions.
    """
    since = options.since
    context = CommandContext(pipeline, options.as_json)
    given = TrainingInput(context, options, samples.sources, file, labels)
    loaded = context.pipeline
    given.find_labels()
    # Opened before the training, so that missing topics or keys are reported at once.
    publisher = (
        TrainedModelPublisher(context.log_operations().settings, loaded) if options.yes else None
    )
    trained, summary = _train(loaded, given, since)
    if options.promote and not options.force:
        require_better_than_baseline(trained)
    found: dict[str, Any] = {"done": options.yes, "summary": summary, "offline": trained.as_dict()}
    if publisher is not None:
        found |= _publish(publisher, trained, options.why or "", promote=options.promote)
    context.write(found, *_lines(loaded, found))


class Reading(Protocol):
    """Progress of reading the events."""

    @property
    def size(self) -> int | None:
        """Size of the input, None if unknown."""

    @property
    def position(self) -> int:
        """Part of it that was read, in the same unit."""


class OpenInput(NamedTuple):
    """Simulation of the given input.

    Attributes:
        simulation: the simulation.
        reading: progress of reading the events.
        topics: topics that are read, None for files.
    """

    simulation: Simulation
    reading: Reading
    topics: TopicSimulation | None = None


class TrainingInput:
    """Files or topics that a command line names.

    Raises:
        typer.BadParameter: it names neither, both, or only one of the two files.
    """

    def __init__(
        self,
        context: CommandContext,
        options: TrainOptions,
        sources: SampledSources,
        events: str | None,
        labels: str | None,
    ) -> None:
        self._context, self._options, self._sources = context, options, sources
        self._events, self._labels = events, labels
        of_files = (events, labels, options.file_format, options.sort or None, *sources)
        if options.from_topics:
            if any(one is not None for one in of_files):
                raise typer.BadParameter(
                    "it reads topics, in the order of their logs: leave out FILE and the options "
                    "--labels, --format, --sort, --source, --label-source",
                    param_hint="--from-topics",
                )
        elif events is None:
            raise typer.BadParameter("give a file, or --from-topics", param_hint="FILE")
        elif events == labels == "-":
            raise typer.BadParameter(
                "only one of the two files can be standard input", param_hint="--labels"
            )

    def find_labels(self) -> None:
        """Take the labels from the file of events, if none are given and it has them.

        Raises:
            typer.BadParameter: it has none.
        """
        if self._options.from_topics or self._labels is not None:
            return
        assert self._events is not None
        loaded = self._context.pipeline
        if not is_table(self._events, self._options.file_format, loaded):
            raise typer.BadParameter(
                f"give the file of labels: {self._events} has no field {loaded.label.field}",
                param_hint="--labels",
            )
        self._labels = self._events

    @contextmanager
    def open(self) -> Iterator[OpenInput]:
        """Open the input; raises as `open_simulation` and `open_topic_simulation`."""
        pipeline, options = self._context.pipeline, self._options
        if self._events is None:
            with open_topic_simulation(self._context.settings, pipeline) as topics:
                yield OpenInput(topics.simulation, topics.events, topics)
            return
        with open_simulation(
            pipeline,
            self._events,
            self._labels,
            None,
            options.file_format,
            self._sources,
            sort=options.sort,
        ) as (simulation, lines):
            yield OpenInput(simulation, lines)


def _train(
    pipeline: Pipeline, given: TrainingInput, since: int
) -> tuple[TrainedModel, dict[str, Any]]:
    """Return the trained model, and the same summary as `try`; Ctrl-C ends the command."""
    started = time.monotonic()
    with given.open() as (simulation, reading, topics), noting_ctrl_c(simulation) as stopped:
        training = Training(simulation, since)
        with (
            report_progress(f"training {pipeline.name}", reading.size) as progress,
            ended_by_ctrl_c(stopped),
        ):
            for number, _ in enumerate(training, start=1):
                progress.update(reading.position, number)
                if stopped:
                    break
        if stopped:
            typer.echo("Stopped before the end: nothing is published.", err=True)
            raise typer.Exit(INTERRUPTED)
        summary = summarise(simulation, time.monotonic() - started, complete=True)
        if topics is not None and topics.deleted:
            summary["warnings"].append(
                f"Retention has deleted {counted(topics.deleted, 'offset')} before they were read"
            )
        inputs = [] if topics is None else [one._asdict() for one in topics.inputs]
        return training.result()._replace(inputs=inputs), summary


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
    yield from _inputs(offline["inputs"])
    yield ""
    if not found["done"]:
        yield "Nothing is published yet: add --yes and --why."
    elif found["promoted"]:
        yield f"Version {found['version']} is published and served."
    else:
        yield f"Version {found['version']} is published; serve it with `stream-app models promote`."


def _inputs(ranges: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each topic that was read."""
    for topic in dict.fromkeys(one["topic"] for one in ranges):
        own = [one for one in ranges if one["topic"] == topic]
        offsets = sum(one["end"] - one["start"] for one in own)
        yield f"topic         {topic}: {offsets:,} offsets of {counted(len(own), 'partition')}"
