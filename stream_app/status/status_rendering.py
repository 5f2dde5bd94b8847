"""The answer on one screen, in plain words; fits 80 columns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream_app.formatting import duration, seconds_since
from stream_app.status.sentences import facts
from stream_app.status.status_model import (
    Alarm,
    CorrectiveAction,
    InputStatus,
    RoleStatus,
    Status,
    WorkerState,
    WorkerStatus,
)

_STYLES: Mapping[WorkerState, str] = {
    "ready": "green",
    "running": "green",
    "not ready": "yellow",
    "silent": "red",
    "ended": "dim",
}
_ROWS = 8  # of partitions and of alarms; what is left out is counted


def render(status: Status) -> Group:
    """Everything; what is wrong comes first, where a low terminal shows it too."""
    parts: list[RenderableType] = [_headline(status)]
    if not status.started:
        return Group(
            *parts, Text(), Text("No worker has run yet: start them with `stream-app up PIPELINE`.")
        )
    parts += [Text(f"✗ {problem}", style="bold red") for problem in status.problems]
    parts += [Text(), _workers(status.roles), Text(), _partitions(status), Text(), _facts(status)]
    if status.alarms:
        parts += [Text(), _alarms(status.alarms, status.at)]
    if status.corrective_actions:
        parts += [Text(), _actions(status.corrective_actions, status.at)]
    return Group(*parts)


def _headline(status: Status) -> Text:
    verdict = ("healthy", "bold green") if status.healthy else ("not healthy", "bold red")
    if not status.started:
        verdict = ("never started", "bold yellow")
    return Text.assemble(
        (status.pipeline, "bold"), "  ", verdict, (f"  {status.cluster}  {status.at[:19]}Z", "dim")
    )


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def _workers(roles: Iterable[RoleStatus]) -> Table:
    table = _table("worker", "is", "partitions", "serves", "memory", "where", right=("memory",))
    for role in roles:
        for worker in role.workers:
            table.add_row(*_worker(worker))
        if not role.workers:
            table.add_row(Text(role.role), Text("not running", style="yellow"))
    return table


def _worker(worker: WorkerStatus) -> list[Text]:
    state = worker.state if not worker.reasons else f"{worker.state}: {', '.join(worker.reasons)}"
    memory = "" if worker.memory_bytes is None else f"{worker.memory_bytes / 2**20:,.0f} MiB"
    where = worker.host if worker.pid is None else f"process {worker.pid} here"
    cells = (
        ranges(worker.partitions),
        "" if worker.model_version is None else str(worker.model_version),
        memory,
    )
    return [
        Text(worker.name),
        Text(state, style=_STYLES[worker.state]),
        *map(Text, cells),
        Text(where, style="dim"),
    ]


def _partitions(status: Status) -> Table:
    """The scorers' partitions, the furthest behind first, then the one input of the others."""
    columns = ("reads", "worker", "behind", "oldest", "entries", "event time")
    table = _table(*columns, right=("behind", "oldest", "entries"))
    state = {one.partition: one for one in status.state}
    ordered = sorted(status.inputs, key=lambda one: -one.lag_seconds)
    shown = set(ordered[:_ROWS]) if len(ordered) > 2 * _ROWS else set(ordered)
    for one in status.inputs:
        if one in shown:
            kept = state.get(one.partition) if one.topic.endswith(".raw") else None
            entries = "" if kept is None or kept.entries is None else f"{kept.entries:,}"
            clock = "" if kept is None or kept.clock is None else kept.clock[:16]
            place = f"{one.topic.removeprefix(f'{status.pipeline}.')}[{one.partition}]"
            cells = (f"{one.role} ← {place}", one.worker or "nobody", *_lag(one), entries, clock)
            table.add_row(*map(Text, cells))
    if len(shown) < len(ordered):
        table.add_row(Text(f"and {len(ordered) - len(shown)} more", style="dim"))
    return table


def _lag(one: InputStatus) -> tuple[str, str]:
    return (f"{one.lag_records:,}", duration(one.lag_seconds)) if one.lag_records else ("0", "")


def _facts(status: Status) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    for name, value in facts(status).items():
        table.add_row(name, Text(value))
    return table


def _alarms(alarms: Sequence[Alarm], at: str) -> Table:
    """The newest of each; `at` is when they were looked at."""
    looked = datetime.fromisoformat(at).timestamp()
    table = _table(
        "alarm",
        "value",
        "limit",
        "window to",
        "written",
        "times",
        "now",
        right=("value", "limit", "times"),
    )
    for alarm in alarms[:_ROWS]:
        place = "".join(f" ({part})" for part in (alarm.reference, alarm.source) if part)
        what = f"{alarm.kind} {alarm.name}{place}"
        numbers = [
            "" if number is None else f"{number:.4g}" for number in (alarm.value, alarm.threshold)
        ]
        now = {
            True: Text("goes on", style="bold red"),
            False: Text("ended", style="green"),
            None: Text(""),
        }[alarm.ongoing]
        written = f"{duration(seconds_since(alarm.at, looked))} ago"
        table.add_row(
            *map(Text, (what, *numbers, alarm.window_end[:16], written, str(alarm.count))), now
        )
    if len(alarms) > _ROWS:
        table.add_row(Text(f"and {len(alarms) - _ROWS} more", style="dim"))
    return table


def _actions(actions: Sequence[CorrectiveAction], at: str) -> Table:
    """What was done without anyone's help in the last 24 hours."""
    looked = datetime.fromisoformat(at).timestamp()
    table = _table("corrective action", "cause", "times", "since", "last", right=("times",))
    for one in actions[:_ROWS]:
        last = f"{duration(seconds_since(one.until, looked))} ago"
        table.add_row(
            *map(Text, (one.action, one.cause or "", f"{one.count:,}", one.since[:16], last))
        )
    if len(actions) > _ROWS:
        table.add_row(Text(f"and {len(actions) - _ROWS} more", style="dim"))
    return table


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in short.

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
