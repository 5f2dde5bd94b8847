"""Progress and summary of a demo run, and verification that no event was lost or duplicated."""

import sys
from collections.abc import Mapping
from statistics import quantiles
from time import monotonic
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream_app.demo.collector import Collector
from stream_app.errors import VerificationError
from stream_app.formatting import iso_time

LINE_SECONDS = 5.0
REFRESH_SECONDS = 0.5


def summarise(observer: Collector, produced: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """Return the results of a run.

    Counts are those of the collector; duplicates are those that the scorers count.

    Args:
        observer: collector of the run.
        produced: number of records sent, by topic.
        seconds: duration of the run.
    """
    counts, champion, baselines = observer.record_counts, observer.champion, observer.task.baselines
    metrics = observer.metrics()
    stale = observer.staleness_hours() or [0.0]
    return {
        "produced": produced["raw"],
        "labels": produced["labels"],
        "scored": len(observer.scored),
        "dead_lettered": {
            kind: dict(sorted(codes.items())) for kind, codes in observer.dead.items()
        },
        "duplicates": {"raw": counts.duplicates, "labels": counts.label_duplicates},
        "awaiting_label": counts.pending,
        "expired": counts.expired,
        "labels_waiting": counts.waiting,
        "labels_expired": counts.label_expired,
        "learned": champion.learned if champion else 0,
        "model": {"name": champion.name, "version": champion.version} if champion else None,
        "staleness": {
            "unit": "hours of event time",
            "max": round(max(stale), 2),
            "median": round(quantiles([*stale, *stale], n=2)[0], 2),
        },
        "metrics": {
            name: round(value, 4) for name, value in metrics.items() if name not in baselines
        },
        "baselines": {
            name: round(value, 4) for name, value in metrics.items() if name in baselines
        },
        "alarms": alarm_counts(observer),
        "events_per_second": round(produced["raw"] / seconds, 1),
        "seconds": round(seconds, 1),
    }


def alarm_counts(observer: Collector) -> dict[str, int]:
    """Return the number of alarms by kind and name."""
    counts: dict[str, int] = {}
    for alarm in observer.alarms:
        name = f"{alarm['kind']}/{alarm['name']}"
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def verify(summary: Mapping[str, Any], observer: Collector) -> None:
    """Verify by two independent counts that every record has exactly one outcome.

    Raises:
        VerificationError: the counts differ.
    """
    counts, dead = (
        observer.record_counts,
        {kind: codes.total() for kind, codes in observer.dead.items()},
    )
    equations = {
        "produced = scored + dead raw + duplicates raw": (
            summary["produced"],
            summary["scored"] + dead["raw"] + summary["duplicates"]["raw"],
        ),
        "scored = learned + awaiting + expired": (
            summary["scored"],
            summary["learned"] + summary["awaiting_label"] + summary["expired"],
        ),
        "labels = learned + waiting + duplicates + expired + dead": (
            summary["labels"],
            summary["learned"]
            + summary["labels_waiting"]
            + summary["duplicates"]["labels"]
            + summary["labels_expired"]
            + dead["labels"],
        ),
        "every event scored once": (summary["scored"], len(observer.scored_ids)),
        "scored topic = scorers' counts": (summary["scored"], counts.scored),
        "dead letters = scorers' counts": (
            sum(dead.values()),
            counts.dead.total() + counts.label_dead.total(),
        ),
        "examples topic = scorers' counts": (len(observer.examples), counts.joined),
    }
    wrong = [
        f"{name}: {left} != {right}" for name, (left, right) in equations.items() if left != right
    ]
    if wrong:
        raise VerificationError(
            "; ".join(wrong), "Keep the data folder and report it: records were lost or duplicated"
        )


class LiveView:
    """Shows a run on standard error; a context manager."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True)
        self._total = total
        self._started = monotonic()
        self._next = 0.0
        self._live = (
            Live(console=self._console, auto_refresh=False) if sys.stderr.isatty() else None
        )

    def __enter__(self) -> "LiveView":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print one line at once."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def update(
        self, sent: Mapping[str, int], event_time: int, observer: Collector, *, force: bool = False
    ) -> None:
        """Show the state of the run, at most twice a second; `force` shows it at once."""
        now = monotonic()
        if now < self._next and not force:
            return
        self._next = now + (REFRESH_SECONDS if self._live is not None else LINE_SECONDS)
        rows = self._rows(sent, event_time, observer, now - self._started)
        if self._live is None:
            self.say("  ".join(f"{name} {value}" for name, value in rows.items()))
            return
        table = Table.grid(padding=(0, 2))
        for name, value in rows.items():
            table.add_row(Text(name, style="dim"), value)
        bar = ProgressBar(total=self._total, completed=sent["raw"] + sent["labels"], width=60)
        self._live.update(Group(bar, table), refresh=True)

    def _rows(
        self, sent: Mapping[str, int], event_time: int, observer: Collector, seconds: float
    ) -> dict[str, Any]:
        metrics = observer.metrics()
        dead = {code: n for codes in observer.dead.values() for code, n in codes.items()}
        outcomes = (
            len(observer.scored) + observer.dead["raw"].total() + observer.record_counts.duplicates
        )
        rate = sent["raw"] / seconds
        rows = {
            "event time": iso_time(event_time)[:16] if event_time else "-",
            "events": f"{sent['raw']:,} sent, {len(observer.scored):,} scored, {rate:,.0f}/s",
            "lag": f"{max(0, sent['raw'] - outcomes):,} records",
            "model": f"version {observer.champion.version}, {observer.champion.learned:,} learned"
            if observer.champion
            else "-",
        }
        if "roc_auc" in metrics:
            rows["ROC AUC"] = f"{metrics['roc_auc']:.3f} (no model: 0.500)"
            rows["log loss"] = (
                f"{metrics['log_loss']:.3f} (no model: {metrics['prior_log_loss']:.3f})"
            )
        rows["dead letters"] = (
            ", ".join(f"{code} {n}" for code, n in sorted(dead.items())) or "none"
        )
        rows["alarms"] = (
            ", ".join(f"{name} {n}" for name, n in alarm_counts(observer).items()) or "none"
        )
        return rows


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Return the summary as a table."""
    table = Table("result", "value", title="Flights, scored and learned")
    for name, value in summary.items():
        text = (
            ", ".join(f"{key} {part}" for key, part in value.items())
            if isinstance(value, Mapping)
            else str(value)
        )
        table.add_row(name.replace("_", " "), text or "none")
    return table
