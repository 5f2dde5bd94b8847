"""Served labels of the flights of a year, clean and with poisonings that the model learns."""

import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from benchmarks.progressive import cleaned
from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.loading import load_pipeline

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# First poisoning, days between two of them, their number, and days in which it must be found.
FIRST = datetime(2013, 1, 22, tzinfo=UTC)
POISONINGS = 47
FOUND_WITHIN_MS = 7 * DAY_MS

Change = Callable[[bool, random.Random], bool]
"""Returns the label that is sent instead of the true one."""

FlightChange = Callable[["TimedFlight", random.Random], "Sequence[dict[str, Any]]"]
"""Returns the features of the events that are sent for a flight: none, one or several."""

LabelLoss = Callable[["TimedFlight"], bool]
"""Returns True if the label of a flight is not sent."""


def flipped(share: float) -> Change:
    """Returns a change that inverts a share of the labels."""
    return lambda label, rng: label ^ (rng.random() < share)


def set_to(value: bool, share: float) -> Change:
    """Returns a change that sets a share of the labels to one value."""
    return lambda label, rng: value if rng.random() < share else label


class TimedFlight(NamedTuple):
    """Flight with its features; times in Unix milliseconds.

    One that was cancelled or diverted has no label, and the label time 0.
    """

    event_time: int
    label_time: int
    features: dict[str, Any]
    label: bool | None


class ScoredFlight(NamedTuple):
    """Flight with its features and score; the time is in Unix milliseconds.

    One without features was not sent: only its time passes.
    """

    event_time: int
    features: dict[str, Any] | None
    score: float


def start_of(number: int) -> int:
    """Returns the beginning of a poisoning in Unix milliseconds."""
    start = FIRST + timedelta(days=7 * number, hours=5 * number % 24)
    return int(start.timestamp() * 1000)


class ServedFlights:
    """Flights that are scored at departure and learned at arrival, from some moment on.

    Args:
        flights: flights by event time.
    """

    def __init__(self, flights: list[TimedFlight]) -> None:
        self._flights = flights
        moments = [(flight.event_time, 1, number) for number, flight in enumerate(flights)]
        moments += [
            (flight.label_time, 0, number)
            for number, flight in enumerate(flights)
            if flight.label is not None
        ]
        self._moments = sorted(moments)
        self._position = 0
        self._scores: dict[int, float] = {}
        self._model: Any = load_pipeline("stream_app.examples.flights:pipeline").model()

    def copied(self) -> "ServedFlights":
        """Returns a copy that continues at the same moment, with a model of its own."""
        copy = object.__new__(ServedFlights)
        copy._flights, copy._moments = self._flights, self._moments
        copy._position, copy._scores = self._position, dict(self._scores)
        copy._model = deepcopy(self._model)
        return copy

    def until(self, end: int, change: Change | None = None, seed: int = 0) -> Iterator[ServedLabel]:
        """Yields the labels up to a time, exclusive; those of the first three days are changed."""
        for moment in self.moments(end, change, seed):
            if isinstance(moment, ServedLabel):
                yield moment

    def moments(
        self,
        end: int,
        change: Change | None = None,
        seed: int = 0,
        *,
        flights: FlightChange = lambda flight, _: [flight.features],
        lost: LabelLoss = lambda _: False,
    ) -> Iterator[ServedLabel | ScoredFlight]:
        """Yields flights as they are scored, too; otherwise as `until`.

        Args:
            flights: returns what is sent of a flight; the last of several gets the label.
            lost: returns True if the label of a flight is not sent.
        """
        rng = random.Random(seed)
        changed_until = self._time() + 3 * DAY_MS
        while self._position < len(self._moments) and self._time() < end:
            time, is_event, number = self._moments[self._position]
            self._position += 1
            flight = self._flights[number]
            if is_event:
                sent = flights(flight, rng)
                if not sent:
                    yield ScoredFlight(time, None, 0.0)
                for features in sent:
                    scores = self._model.predict_proba_one(features)
                    score = self._scores[number] = float(scores.get(True, 0.5))
                    yield ScoredFlight(time, features, score)
                continue
            if number not in self._scores:
                continue
            score = self._scores.pop(number)
            label = flight.label
            if label is None or lost(flight):
                continue
            if change is not None and time < changed_until:
                label = change(label, rng)
            self._model.learn_one(flight.features, label)
            yield ServedLabel(time, flight.event_time, 0, number, label, score)

    def _time(self) -> int:
        return self._moments[self._position][0]


def read_year(*, unlabelled: bool = False) -> list[TimedFlight]:
    """Returns the flights of 2013 by event time.

    Args:
        unlabelled: False for those that have a label only.
    """
    return [
        TimedFlight(
            flight.event_time_ms,
            flight.label_time_ms,
            features,
            None if flight.label is None else flight.label["late"],
        )
        for flight, features in cleaned(datetime(2013, 1, 1), datetime(2014, 1, 2))
        if unlabelled or flight.label is not None
    ]


class ScoredYear(NamedTuple):
    """Served labels of a year.

    Attributes:
        clean: labels of the whole year.
        moments: copies at the beginning of each poisoning.
    """

    clean: list[ServedLabel]
    moments: list[ServedFlights]


def score_year(flights: list[TimedFlight]) -> ScoredYear:
    """Scores and learns flights of the year without any poisoning."""
    served = ServedFlights(flights)
    clean: list[ServedLabel] = []
    moments = []
    for number in range(POISONINGS):
        clean += served.until(start_of(number))
        moments.append(served.copied())
    clean += served.until(2**62)
    return ScoredYear(clean, moments)
