"""`try`: run a pipeline over files, without a broker."""

import shutil
import sys
import time
from collections import deque
from typing import Annotated, Any, Literal

import typer

from stream_app.cli.exit_codes import INTERRUPTED
from stream_app.cli.interruption import ended_by_ctrl_c, noting_ctrl_c
from stream_app.cli.options import JsonOption, PipelineArgument
from stream_app.loading import load_pipeline
from stream_app.offline.simulation.outcome_lines import as_object, failed, json_line, text_line
from stream_app.offline.simulation.simulation import SimulatedRecord, open_trial
from stream_app.offline.simulation.simulation_summary import summarise
from stream_app.offline.simulation.summary_text import summary_lines
from stream_app.transfer.send_progress import reporter

app = typer.Typer()


_SHOWN = 5  # first and last events, for people
_WIDE = 2000  # characters of a line that goes to no terminal


@app.command("try", epilog="Example: stream-app try orders.py events.jsonl --labels labels.jsonl")
def try_files(
    pipeline: PipelineArgument,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Events: JSON lines, CSV or Avro container; - is standard input."
        ),
    ],
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Labels, each learned when its time comes.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Try only so many events, with their labels."),
    ] = None,
    file_format: Annotated[
        Literal["json", "csv", "avro"] | None,
        typer.Option(
            "--format", help="Of the files [default: by their extensions; JSON lines for -]."
        ),
    ] = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="Show every record that fails, and no others.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run PIPELINE over FILE in memory, without Kafka: what becomes of each record, and what the model is worth."""
    if file == labels == "-":
        raise typer.BadParameter(
            "only one of the two files can be standard input", param_hint="--labels"
        )
    loaded = load_pipeline(pipeline)
    started = time.monotonic()
    output = _Json() if as_json else _Text(failures)
    with (
        open_trial(loaded, file, labels, limit, file_format) as (trial, lines),
        noting_ctrl_c(trial) as stopped,
    ):
        with reporter(f"trying {loaded.name}", lines.size) as progress, ended_by_ctrl_c(stopped):
            for count, tried in enumerate(trial, start=1):
                if failed(tried) or not failures:
                    output.show(tried)
                progress.update(lines.position, count)
                if stopped:
                    break
        output.end(summarise(trial, time.monotonic() - started, complete=not stopped))
    raise typer.Exit(INTERRUPTED if stopped else 0)


class _Json:
    """One object per record as it comes, and the summary at the end."""

    def show(self, tried: SimulatedRecord) -> None:
        self._write(as_object(tried))

    def end(self, summary: dict[str, Any]) -> None:
        self._write(summary)

    def _write(self, fields: dict[str, Any]) -> None:
        sys.stdout.buffer.write(json_line(fields))
        sys.stdout.buffer.flush()


class _Text:
    """Once the progress bar is gone: some events or all `failures`, each cut to the terminal, and the summary."""

    def __init__(self, failures: bool) -> None:
        self._failures = failures
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=_SHOWN)
        self._events = 0

    def show(self, tried: SimulatedRecord) -> None:
        if self._failures:
            self._first.append(text_line(tried))
        elif tried.line.kind == "event":
            self._events += 1
            (self._first if self._events <= _SHOWN else self._last).append(text_line(tried))

    def end(self, summary: dict[str, Any]) -> None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
        between = self._events - 2 * _SHOWN
        more = [f"... {between:,} more, which --json shows"] if between > 0 else []
        shown = [line[:width] for line in (*self._first, *more, *self._last)]
        typer.echo("\n".join([*shown, *([""] if shown else []), *summary_lines(summary)]))
