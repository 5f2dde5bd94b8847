"""`try`: simulation of a pipeline over files."""

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
)
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
