"""Progress of the demo: a table on a terminal, a line every few seconds elsewhere."""

import sys
from collections.abc import Mapping
from time import monotonic
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream_app.demo.collector import Collector
from stream_app.demo.demo_summary import alarm_counts
from stream_app.formatting import iso_time

LINE_SECONDS = 5.0
REFRESH_SECONDS = 0.5


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
