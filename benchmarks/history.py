"""Ratios of earlier runs, in `benchmarks/history.csv`: a later run shows what has changed."""

import csv
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import RATIOS, Figures, spread

FILE = Path(__file__).with_name("history.csv")


class RecordedRatio(NamedTuple):
    """Ratio of an earlier run.

    Attributes:
        date: day of the run.
        commit: commit that was measured.
        core: `compiled` or `interpreted`.
        figure: name of the ratio, one of `RATIOS`.
        median, low, high: median and range of the rounds.
        rounds: number of rounds.
    """

    date: str
    commit: str
    core: str
    figure: str
    median: float
    low: float
    high: float
    rounds: int


History = dict[str, RecordedRatio]
"""Last recorded ratio by name of the figure."""


def read_history(file: Path = FILE) -> History:
    """Returns the last recorded ratio of each figure, nothing without the file."""
    if not file.exists():
        return {}
    with file.open(newline="") as lines:
        return {row["figure"]: _parsed(row) for row in csv.DictReader(lines)}


def record(figures: Figures, core: str, file: Path = FILE) -> int:
    """Appends the ratios of a run to the file; returns their number."""
    date, commit = datetime.now(UTC).strftime("%Y-%m-%d"), measured_commit()
    rows = []
    for name in RATIOS:
        if values := figures.get(name):
            middle, low, high = (round(value, 3) for value in spread(values))
            rows.append(
                RecordedRatio(date, commit, core, name, middle, low, high, rounds=len(values))
            )
    is_new = not file.exists()
    with file.open("a", newline="") as output:
        writer = csv.writer(output, lineterminator="\n")
        if is_new:
            writer.writerow(RecordedRatio._fields)
        writer.writerows(rows)
    return len(rows)


def measured_commit() -> str:
    """Returns the abbreviated commit of this checkout, with `+` if files have changed."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--exclude=*", "--dirty=+"],
            cwd=FILE.parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _parsed(row: dict[str, str]) -> RecordedRatio:
    return RecordedRatio(
        row["date"],
        row["commit"],
        row["core"],
        row["figure"],
        float(row["median"]),
        float(row["low"]),
        float(row["high"]),
        int(row["rounds"]),
    )
