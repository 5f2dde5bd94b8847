"""List of all checks, a runner that isolates them from each other, and the report as text.

Problems come last in the report, where a terminal shows them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from threading import Thread

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream_app.doctor import (
    cluster_checks,
    direct_checks,
    machine_checks,
    model_checks,
    source_checks,
    topic_checks,
    watermark_checks,
    worker_checks,
)
from stream_app.doctor.context import (
    Check,
    CheckFunction,
    CheckResult,
    DoctorContext,
    Level,
    NoModelError,
    ReportedResult,
    UnavailableError,
    from_error,
    problem,
    skipped,
)
from stream_app.errors import StreamAppError
from stream_app.formatting import counted

# In the order in which they run: a check comes after those that test what it builds on.
CHECKS = (
    Check("settings", machine_checks.check_settings),
    Check("machine", machine_checks.check_versions),
    Check("machine", machine_checks.check_core),
    Check("machine", machine_checks.check_disks),
    Check("machine", machine_checks.check_embedded_broker),
    Check("pipeline", model_checks.check_pipeline),
    Check("store", model_checks.check_store),
    Check("keys", model_checks.check_keys),
    Check("cluster", cluster_checks.check_connection),
    Check("cluster", cluster_checks.check_second_client),
    Check("cluster", cluster_checks.check_broker_limits),
    Check("topics", topic_checks.check_shape),
    Check("topics", topic_checks.check_topic_settings),
    Check("topics", topic_checks.check_sources),
    Check("topics", cluster_checks.check_clock),
    Check("producers", topic_checks.check_partitioner),
    Check("producers", direct_checks.check_direct),
    Check("registry", model_checks.check_registry),
    Check("producers", source_checks.check_source_values),
    Check("producers", topic_checks.check_values),
    Check("workers", worker_checks.check_members),
    Check("workers", worker_checks.check_offsets),
    Check("workers", worker_checks.check_record_counts),
    Check("workers", watermark_checks.check_watermarks),
    Check("model", model_checks.check_version),
    Check("model", model_checks.check_learning),
)
_SYMBOLS: Mapping[Level, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "skipped": ("·", "dim"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
}


def run_checks(checks: Iterable[Check], context: DoctorContext) -> Iterator[ReportedResult]:
    """Run the checks in order and yield their results as they come.

    A check that raises or hangs yields a problem; the others run all the same.
    """
    for check in checks:
        for level, message, remedy in _run_with_limit(check, context):
            yield ReportedResult(check.area, level, message, remedy)


def _run_with_limit(check: Check, context: DoctorContext) -> list[CheckResult]:
    """Run a check in a daemon thread, which is abandoned when the time limit passes.

    It has a context of its own, so that later checks never use the clients that it may still call.
    """
    found: list[CheckResult] = []
    own = copy(context)
    thread = Thread(target=lambda: found.extend(_run(check.run, own)), daemon=True)
    thread.start()
    thread.join(check.limit)
    if thread.is_alive():
        context.reset()
        return [
            problem(
                f"no result within {check.limit:.0f} s",
                "Check that the network and the disk are not slow, and try again",
            )
        ]
    return found


def _run(run: CheckFunction, context: DoctorContext) -> list[CheckResult]:
    """Return the results of a check, followed by the error that ended it, if any."""
    found: list[CheckResult] = []
    try:
        found.extend(run(context))
    except UnavailableError as missing:
        found.append(_missing(missing))
    except StreamAppError as error:
        found.append(from_error(error))
    # A bug in one check must not hide the results of the others.
    except Exception as error:
        message = f"the check itself failed: {type(error).__name__}: {error}"
        found.append(problem(message, "This is a bug in the check; please report it"))
    return found


def _missing(missing: UnavailableError) -> CheckResult:
    """Return the error for the first check that meets it, and a skipped result for later ones."""
    if missing.error is None or missing.reported:
        return skipped(f"needs {missing.name}")
    missing.reported = True
    if isinstance(missing.error, NoModelError):
        return skipped(missing.error.message)
    return from_error(missing.error)


def render(results: Sequence[ReportedResult]) -> Group:
    """Return one line per result, its remedy below it, and a summary line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    order = list(_SYMBOLS)
    for result in sorted(_grouped(results), key=lambda result: order.index(result.level)):
        table.add_row(*_row(result))
    return Group(table, Text(), _summary(results))


def _grouped(results: Sequence[ReportedResult]) -> Iterator[ReportedResult]:
    """Yield the results, with those skipped for the same reason combined into one."""
    areas: dict[str, list[str]] = {}
    for result in results:
        if result.level == "skipped":
            areas.setdefault(result.message, []).append(result.area)
        else:
            yield result
    for message, skipped_areas in areas.items():
        names = list(dict.fromkeys(skipped_areas))
        listed = f": {', '.join(names)}" if len(names) > 1 else ""
        area = names[0] if len(names) == 1 else ""
        yield ReportedResult(area, "skipped", message + listed, "")


def _row(result: ReportedResult) -> tuple[Text, RenderableType]:
    symbol, style = _SYMBOLS[result.level]
    is_skipped = result.level == "skipped"
    message = Text(
        f"{'not checked: ' * is_skipped}{result.message}", style="dim" if is_skipped else ""
    )
    cell = Group(message, Text(f"→ {result.remedy}")) if result.remedy else message
    return Text(f"{symbol} {result.area}", style=style), cell


def _summary(results: Sequence[ReportedResult]) -> Text:
    problems, warnings = (
        sum(result.level == level for result in results) for level in ("problem", "warning")
    )
    if problems:
        text = f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}"
        return Text(text, style="bold red")
    if warnings:
        return Text(f"no problem, {counted(warnings, 'warning')}", style="yellow")
    return Text("no problems found", style="bold green")
