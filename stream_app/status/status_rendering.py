"""The status as text on one screen of at least 80 columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream_app.core.alarms.alarm_log import AlarmState
from stream_app.formatting import counted, duration, seconds_since
from stream_app.status.alarm_status import detector_text, silence_text
from stream_app.status.status_model import (
    Alarm,
    CorrectiveAction,
    InputStatus,
    ModelStatus,
    MonitorAlarm,
    PartitionStatus,
    RecentDeadLetters,
    RecordCountTotals,
    RoleStatus,
    Status,
    ThresholdStatus,
    WindowStatus,
    WorkerState,
    WorkerStatus,
)
from stream_app.transfer.record_rendering import sanitize_for_terminal

_STYLES: Mapping[WorkerState, str] = {
    "ready": "green",
    "running": "green",
    "not ready": "yellow",
    "unresponsive": "red",
    "ended": "dim",
}
_ALARM_STYLES: Mapping[AlarmState, str] = {
    "open": "bold red",
    "acknowledged": "yellow",
    "silenced": "yellow",
    "closed": "green",
}
# Fewest rows of each table; further ones are counted unless the screen has room for them.
_ROWS = 8
# Metrics in order of preference; the first two that exist are shown.
_METRICS = ("roc_auc", "log_loss", "accuracy", "mae", "r2")


def fit(status: Status, console: Console) -> Group:
    """Return the status with as many rows of each table as the height of a terminal allows."""
    low, high = _ROWS, max(_ROWS, console.height) if console.is_terminal else _ROWS
    while low < high:
        rows = (low + high + 1) // 2
        # The last line is the cursor's.
        if len(console.render_lines(render(status, rows), pad=False)) < console.height:
            low = rows
        else:
            high = rows - 1
    return render(status, low)


def render(status: Status, rows: int = _ROWS) -> Group:
    """Return the whole status; problems come first, where a low terminal shows them.

    Args:
        rows: largest number of rows of the tables of inputs, alarms and corrective actions.
    """
    parts: list[RenderableType] = [_headline(status)]
    if not status.started:
        hint = "No worker has run yet: start them with `stream-app up PIPELINE`."
        return Group(*parts, Text(), Text(hint))
    parts += [Text(f"✗ {problem}", style="bold red") for problem in status.problems]
    inputs = _inputs(status, rows)
    parts += [Text(), _workers(status.roles), Text(), inputs, Text(), _summary(status)]
    if status.open_alarms:
        parts += [Text(), monitor_alarm_table(status.open_alarms, rows)]
    if status.alarms:
        parts += [Text(), _alarms(status.alarms, status.at, rows)]
    if status.corrective_actions:
        parts += [Text(), _corrective_actions(status.corrective_actions, status.at, rows)]
    return Group(*parts)


def _headline(status: Status) -> Text:
    state = ("healthy", "bold green") if status.healthy else ("not healthy", "bold red")
    if not status.started:
        state = ("never started", "bold yellow")
    return Text.assemble(
        (status.pipeline, "bold"), "  ", state, (f"  {status.cluster}  {status.at[:19]}Z", "dim")
    )


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def _workers(roles: Iterable[RoleStatus]) -> Table:
    columns = ("worker", "state", "partitions", "model", "memory", "host")
    table = _table(*columns, right=("memory",))
    for role in roles:
        for worker in role.workers:
            table.add_row(*_worker(worker))
        if not role.workers:
            table.add_row(Text(role.role), Text("not running", style="yellow"))
    return table


def _worker(worker: WorkerStatus) -> list[Text]:
    state = worker.state if not worker.reasons else f"{worker.state}: {', '.join(worker.reasons)}"
    memory = "" if worker.memory_bytes is None else f"{worker.memory_bytes / 2**20:,.0f} MiB"
    host = worker.host if worker.pid is None else f"this machine, process {worker.pid}"
    cells = (
        ranges(worker.partitions),
        "" if worker.model_version is None else str(worker.model_version),
        memory,
    )
    return [
        Text(worker.name),
        Text(state, style=_STYLES[worker.state]),
        *map(Text, cells),
        Text(host, style="dim"),
    ]


def _inputs(status: Status, rows: int) -> Table:
    """Return the partitions that roles read; of many, only those with the largest lag."""
    columns = ("input", "worker", "lag", "oldest", "entries", "event time")
    table = _table(*columns, right=("lag", "oldest", "entries"))
    state = {one.partition: one for one in status.partitions}
    by_lag = sorted(status.inputs, key=lambda one: -one.lag_seconds)
    shown = set(by_lag[:rows]) if len(by_lag) > max(rows, 2 * _ROWS) else set(by_lag)
    for one in status.inputs:
        if one in shown:
            name = f"{one.topic.removeprefix(f'{status.pipeline}.')}[{one.partition}]"
            partition = state.get(one.partition) if one.topic.endswith(".raw") else None
            cells = (f"{one.role} ← {name}", one.worker or "none", *_lag(one), *_state(partition))
            table.add_row(*map(Text, cells))
    _add_remaining(table, len(by_lag) - len(shown))
    return table


def _lag(one: InputStatus) -> tuple[str, str]:
    return (f"{one.lag_records:,}", duration(one.lag_seconds)) if one.lag_records else ("0", "")


def _state(one: PartitionStatus | None) -> tuple[str, str]:
    entries = "" if one is None or one.entries is None else f"{one.entries:,}"
    return entries, "" if one is None or one.clock is None else one.clock[:16]


def _summary(status: Status) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    for name, value in summary_lines(status).items():
        table.add_row(name, Text(value))
    return table


def monitor_alarm_table(alarms: Sequence[MonitorAlarm], rows: int) -> Table:
    """Return the alarms of the monitor, at most so many; times are those of events and labels."""
    columns = ("alarm", "state", "evidence since", "last", "strength", "times", "cause")
    table = _table(*columns, right=("strength", "times"))
    for one in alarms[:rows]:
        cells = (
            one.since[:16],
            (one.closed_at or one.updated_at)[:16],
            f"{one.strength:.3g}",
            f"{one.count:,}",
            f"{one.cause}; {one.state} {one.note}" if one.note else one.cause,
        )
        style = _ALARM_STYLES[one.state] if one.pages else ""
        table.add_row(
            Text(sanitize_for_terminal(one.id)),
            Text(one.state, style=style),
            *map(Text, map(sanitize_for_terminal, cells)),
        )
    _add_remaining(table, len(alarms) - rows)
    return table


def _alarms(alarms: Sequence[Alarm], at: str, rows: int) -> Table:
    """Return the alarms; `at` is the time of the status."""
    now = datetime.fromisoformat(at).timestamp()
    columns = ("alarm", "value", "limit", "window to", "written", "times", "state")
    table = _table(*columns, right=("value", "limit", "times"))
    for alarm in alarms[:rows]:
        details = "".join(f" ({part})" for part in (alarm.reference, alarm.source) if part)
        numbers = [
            "" if number is None else f"{number:.4g}" for number in (alarm.value, alarm.threshold)
        ]
        state = {
            True: Text("ongoing", style="bold red"),
            False: Text("ended", style="green"),
            None: Text(""),
        }[alarm.ongoing]
        written = f"{duration(seconds_since(alarm.at, now))} ago"
        cells = (f"{alarm.kind} {alarm.name}{details}", *numbers, alarm.window_end[:16], written)
        table.add_row(*map(Text, (*cells, str(alarm.count))), state)
    _add_remaining(table, len(alarms) - rows)
    return table


def _corrective_actions(actions: Sequence[CorrectiveAction], at: str, rows: int) -> Table:
    """Return the corrective actions; `at` is the time of the status."""
    now = datetime.fromisoformat(at).timestamp()
    table = _table("corrective action", "cause", "times", "since", "last", right=("times",))
    for one in actions[:rows]:
        last = f"{duration(seconds_since(one.until, now))} ago"
        cells = (one.action, one.cause or "", f"{one.count:,}", one.since[:16], last)
        table.add_row(*map(Text, cells))
    _add_remaining(table, len(actions) - rows)
    return table


def _add_remaining(table: Table, count: int) -> None:
    if count > 0:
        table.add_row(Text(f"and {count} more", style="dim"))


def summary_lines(status: Status) -> dict[str, str]:
    """Return rates, model, record counts, coverage and dead letters, one line each by name.

    Learning has a line if something is paused or excluded, detectors if some cannot raise an
    alarm, and silences if some are in force.
    """
    lines = {}
    if status.rates is not None:
        rates = status.rates
        lines["rates"] = (
            f"{rates.events_in:,.0f} events/s in, {rates.scored:,.0f}/s scored, "
            f"{rates.labels_in:,.0f} labels/s in, {rates.joined:,.0f}/s joined"
        )
    lines["model"] = _model_line(status.model)
    if status.pauses or status.exclusions:
        lines["learning"] = "; ".join(_learning_parts(status))
    lines |= _count_lines(status.record_counts)
    if status.partitions:
        lines["event time"] = _clock_line(status.partitions)
    if status.detectors:
        lines["detectors"] = "; ".join(map(detector_text, status.detectors))
    if status.silences:
        lines["silences"] = "; ".join(map(silence_text, status.silences))
    lines["windows"] = window_line(status.windows)
    lines["label coverage"] = _coverage_line(status)
    if status.thresholds:
        lines["thresholds"] = "; ".join(map(_threshold_text, status.thresholds))
    lines["dead letters"] = _dead_letter_line(status.recent_dead_letters)
    return lines


def _model_line(model: ModelStatus | None) -> str:
    if model is None:
        return "none published"
    shown = [name for name in _METRICS if name in model.metrics][:2]
    metrics = ", ".join(f"{name} {model.metrics[name]:.3f}" for name in shown)
    return (
        f"version {model.version}, {duration(model.age_seconds)} old, {model.learned:,} learned, "
        f"{model.behind:,} behind" + (f"; {metrics}" if metrics else "")
    )


def _learning_parts(status: Status) -> Iterator[str]:
    """Yield each pause of learning and each exclusion."""
    for pause in status.pauses:
        of = "" if pause.source is None else f" from {pause.source}"
        yield f"paused{of} since {pause.since[:16]} by {pause.who}: {pause.why}"
    for one in status.exclusions:
        of = "" if one.source is None else f" of {one.source}"
        span = f"labels{of} from {one.start[:16]} to {one.end[:16]}"
        yield f"exclusion {one.number} of {span} by {one.who}: {one.why}"


def _count_lines(counts: RecordCountTotals) -> dict[str, str]:
    return {
        "events": (
            f"{counts.events:,}: {counts.scored:,} scored"
            + (f" ({counts.degraded:,} by a fallback)" if counts.degraded else "")
            + f", {counted(counts.duplicates, 'duplicate')}"
            + (f", {counts.filtered:,} filtered" if counts.filtered else "")
            + (f", {counted(counts.tombstones, 'tombstone')}" if counts.tombstones else "")
            + (f", {counts.retrying:,} waiting for a retry" if counts.retrying else "")
            + _dead(counts.dead)
        ),
        "labels": (
            f"{counts.labels:,}: {counts.joined:,} joined, "
            f"{counts.waiting:,} waiting for their event, "
            f"{counted(counts.label_duplicates, 'duplicate')}, {counts.label_expired:,} too late"
            + (f", {counts.contradicting:,} contradicting" if counts.contradicting else "")
            + (
                f", {counted(counts.label_completeness, 'completeness record')}"
                if counts.label_completeness
                else ""
            )
            + _dead(counts.label_dead)
        ),
        "predictions": (
            f"{counts.scored:,}: {counts.joined:,} joined, {counts.pending:,} waiting for their "
            f"label, {counts.expired:,} expired"
            + (f", {counts.assumed:,} with an assumed label" if counts.assumed else "")
            + (f"; evicted: {_codes(counts.evicted)}" if counts.evicted else "")
            + (
                "; no event lost or duplicated"
                if counts.balanced
                else "; AN EVENT WAS LOST OR DUPLICATED"
            )
        ),
    }


def _clock_line(partitions: Sequence[PartitionStatus]) -> str:
    """Return the oldest clock of all partitions, and what holds it back."""
    oldest = min(partitions, key=lambda one: one.clock or "")
    time = "not known yet" if oldest.clock is None else oldest.clock[:19]
    moved = oldest.clock_moved_at
    since = "" if moved is None else f" since {moved[:19]}"
    by = "idle inputs" if oldest.held_by is None else oldest.held_by
    return f"{time} in partition {oldest.partition}{since}, held back by {by}"


def window_line(windows: WindowStatus) -> str:
    """Return the end of the newest window, and the partition that holds the next one open."""
    closed = "none reported yet"
    if windows.window_end is not None and windows.window_seconds is not None:
        closed = f"{duration(windows.window_seconds)} each, the last to {windows.window_end[:16]}"
    held = next((one for one in windows.watermarks if one.partition == windows.held_by), None)
    if held is None:
        return closed
    if held.age_seconds is None:
        return f"{closed}; partition {held.partition} has no watermark yet"
    time = "no time" if held.events is None else held.events[:16]
    return (
        f"{closed}; the next waits for partition {held.partition}, which has reached {time} "
        f"(written {duration(held.age_seconds)} ago)"
    )


def _dead(codes: Mapping[str, int]) -> str:
    if not codes:
        return ", 0 dead letters"
    return f", {counted(sum(codes.values()), 'dead letter')} ({_codes(codes)})"


def _codes(codes: Mapping[str, int]) -> str:
    return ", ".join(
        f"{code} {count:,}" for code, count in sorted(codes.items(), key=lambda item: -item[1])
    )


def _coverage_line(status: Status) -> str:
    labels = status.labels
    if labels.coverage is None:
        return "not measured yet"
    delay = ""
    if labels.delay_p50 is not None and labels.delay_p95 is not None:
        p50, p95 = duration(labels.delay_p50), duration(labels.delay_p95)
        delay = f"; delay {p50} median, {p95} at 95 %"
    return f"{labels.coverage:.1%} of the window to {(labels.window_end or '')[:16]}{delay}"


def _threshold_text(one: ThresholdStatus) -> str:
    value = "undefined" if one.value is None else f"{one.value:.4g}"
    interval = "" if one.low is None or one.high is None else f" ({one.low:.4g} to {one.high:.4g})"
    state = "beyond" if one.breached else "within"
    return (
        f"{one.metric} {value}{interval} of {counted(one.n, 'label')} to {one.window_end[:16]}, "
        f"{state} {one.limit:.4g}"
    )


def _dead_letter_line(recent: RecentDeadLetters) -> str:
    counts = {**recent.events}
    for code, count in recent.labels.items():
        counts[code] = counts.get(code, 0) + count
    if not counts:
        return f"in the last {recent.minutes} min: none"
    least = "" if recent.complete else "at least "
    still_open = ""
    if recent.open is not None:
        which = _codes(recent.open) or "none"
        still_open = f"; open of them: {which}"
    return f"in the last {recent.minutes} min: {least}{_codes(counts)}{still_open}"


def ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers with consecutive ones combined.

    >>> ranges((0, 1, 2, 5, 7, 8))
    '0-2 5 7-8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
