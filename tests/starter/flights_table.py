"""Flights of a week as a plain table, with the values that pandas writes."""

import csv
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from stream_app.examples.nycflights import read_flights

Row = dict[str, Any]


def flight_rows(days: int = 7) -> list[Row]:
    """Return flights with a 0/1 label, which is missing if the flight did not arrive.

    Times are Unix seconds. Integers of columns with missing values have a fraction, as in pandas.
    """
    flights = read_flights(datetime(2013, 1, 1), datetime(2013, 1, 1 + days))
    rows = []
    for number, flight in enumerate(flights):
        event, label = flight.event, flight.label
        rows.append(
            {
                "": number,
                "Flight ID": event["event_id"],
                "departure": flight.event_time_ms // 1000,
                **_features(event),
                "arrival": "" if label is None else f"{_seconds(flight.label_time_ms)}.0",
                "late": "" if label is None else f"{float(label['late'])}",
            }
        )
    return sorted(rows, key=lambda row: row["departure"])


def _features(event: Mapping[str, Any]) -> Row:
    return {
        name: "" if value is None else str(value)
        for name, value in event.items()
        if name not in ("event_id", "scheduled_departure")
    }


def _seconds(milliseconds: int) -> int:
    return milliseconds // 1000


def write_table(
    path: Path, rows: list[Row], change: Callable[[Row], Row] = lambda row: row
) -> Path:
    """Write rows as a file of comma-separated values."""
    changed = [change(row) for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(changed[0]))
        writer.writeheader()
        writer.writerows(changed)
    return path
