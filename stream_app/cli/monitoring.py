"""`monitor`: length of windows, and calibration of thresholds."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from stream_app.cli.console import report_console
from stream_app.cli.model_operations import open_for_operation
from stream_app.cli.models import ModelContext
from stream_app.cli.options import (
    JsonOption,
    PipelineArgument,
    WhyOption,
    print_json,
    require_reason,
)
from stream_app.core.evaluation.thresholds import alarm_name
from stream_app.core.monitoring.window_lengths import LENGTHS_MS
from stream_app.errors import SelectionError
from stream_app.formatting import duration, iso_time
from stream_app.model_admin import decisions
from stream_app.model_store.model_registry import reason
from stream_app.offline.example_export import ExampleRange
from stream_app.offline.threshold_calibration import (
    MIN_WINDOWS,
    CalibratedThreshold,
    calibrate,
    threshold_steps,
    windows_of,
)
from stream_app.pipeline import Pipeline, Threshold
from stream_app.transfer.progress import report_progress

app = typer.Typer(no_args_is_help=True)


class WindowLength(StrEnum):
    """Length of the monitor's windows."""

    QUARTER = "15min"
    HOUR = "1h"
    SIX_HOURS = "6h"
    DAY = "24h"


@app.callback()
def monitor_commands() -> None:
    """Monitoring of a pipeline."""


@app.command("window", epilog="Example: stream-app monitor window flights 1h --why 'more data'")
def change_window(
    pipeline: PipelineArgument,
    length: Annotated[WindowLength, typer.Argument(help="Length of a window.")],
    why: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """Change the length of the monitor's windows, from the second midnight of event time on."""
    require_reason(why)
    context = open_for_operation(pipeline, as_json)
    milliseconds = LENGTHS_MS[list(WindowLength).index(length)]
    decisions.change_window(context.admin, milliseconds, reason(why))
    context.write(
        {"window_seconds": milliseconds // 1000},
        f"Windows get a length of {length.value} from the second midnight of event time on.",
    )


@app.command(
    "calibrate", epilog="Example: stream-app monitor calibrate flights --since 90d --per-year 2"
)
def calibrate_thresholds(
    pipeline: PipelineArgument,
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME|OFFSET",
            help="First example, by time of writing (2h, 90d ago, ISO) or offset.",
        ),
    ] = "0",
    per_year: Annotated[
        float, typer.Option(metavar="N", min=0, help="Alarms per year that are acceptable.")
    ] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Count the alarms that the thresholds of PIPELINE would have raised, and propose limits.

    Evaluates the examples in the log again, in windows as the learner does. Without declared
    thresholds, limits are proposed for the pipeline's metrics. Changes nothing.
    """
    context = ModelContext(pipeline, as_json)
    declared = context.pipeline
    thresholds = _thresholds(declared)
    log = ExampleRange(context.settings, declared, since, None)
    uses_offline = any(one.against == "offline" for one in thresholds)
    versions = context.registry.versions if uses_offline else {}
    with report_progress("evaluating examples", log.size) as progress:
        entries = ((offset, entry) for offset, _, entry in log.entries(progress))
        steps = list(threshold_steps(declared, entries, versions))
    reports = windows_of(steps)
    length = duration(declared.window.total_seconds())
    if len(reports) < MIN_WINDOWS:
        raise SelectionError(
            f"The examples fill {len(reports)} windows of {length}, and {MIN_WINDOWS} are needed",
            "Select more with --since, or wait until labels of more time have come",
        )
    found = calibrate(thresholds, steps, per_year)
    if as_json:
        print_json([_as_dict(one, declared) for one in found])
        return
    first, last = iso_time(reports[0].start)[:10], iso_time(reports[-1].end)[:10]
    console = report_console()
    console.print(f"{len(reports):,} windows of {length}, {first} to {last}")
    console.print(_table(found, declared, per_year))


def _thresholds(pipeline: Pipeline) -> tuple[Threshold, ...]:
    """Return the declared thresholds, or one for each metric, whose limit nothing breaches."""
    return pipeline.thresholds.metrics or tuple(
        Threshold(metric=name, limit=0.0) for name in pipeline.metrics
    )


def _is_declared(one: CalibratedThreshold, pipeline: Pipeline) -> bool:
    return one.name in map(alarm_name, pipeline.thresholds.metrics)


def _as_dict(one: CalibratedThreshold, pipeline: Pipeline) -> dict[str, object]:
    is_declared = _is_declared(one, pipeline)
    alarms = [{"start": start, "end": end} for start, end in one.alarms]
    cool_down = one.threshold.cool_down.total_seconds()
    return {
        "name": one.name,
        "threshold": asdict(one.threshold) | {"cool_down": cool_down} if is_declared else None,
        "windows": one.windows,
        "values": {"low": one.low, "median": one.median, "high": one.high},
        "alarms": alarms if is_declared else None,
        "per_year": one.per_year if is_declared else None,
        "proposed_limit": one.proposed,
        "proposed_alarms": one.proposed_alarms,
    }


def _table(found: list[CalibratedThreshold], pipeline: Pipeline, per_year: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("threshold", no_wrap=True)
    proposal = f"for {per_year:g} a year"
    for column in ("5 to 95 %", "limit", "alarms", "a year", "the last", proposal):
        table.add_column(column, justify="right")
    for one in found:
        limit, alarms, rate, last = "", "", "", ""
        if _is_declared(one, pipeline):
            limit, rate = f"{one.threshold.limit:g}", f"{one.per_year:.1f}"
            alarms = str(len(one.alarms))
            last = iso_time(one.alarms[-1].end)[:10] if one.alarms else ""
        usual = "" if one.low is None else f"{one.low:.3g} to {one.high:.3g}"
        proposed = "too few windows" if one.proposed is None else f"{one.proposed:g}"
        name = one.name.removeprefix("threshold-")
        table.add_row(name, usual, limit, alarms, rate, last, proposed)
    return table
