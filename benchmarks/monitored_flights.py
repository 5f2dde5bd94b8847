"""Alarms of the monitor in a year of flights, clean and with 47 poisonings, with the defaults."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from benchmarks.poisoned_flights import (
    FIRST,
    FOUND_WITHIN_MS,
    HOUR_MS,
    POISONINGS,
    Change,
    ServedFlights,
    flipped,
    read_year,
    start_of,
)
from benchmarks.simulated_labels import example_of
from stream_app.core.alarms.alarm_record import AlarmRecord, decode_alarm
from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.core.alarms.stream_monitor import StreamMonitor
from stream_app.core.monitoring.log_alignment import STEP_MS, floor_time
from stream_app.formatting import iso_time
from stream_app.loading import load_pipeline
from stream_app.pipeline import Alarms, Pipeline

DEFAULTS = Alarms(zone="America/New_York")


def pipeline(alarms: Alarms = DEFAULTS) -> Pipeline:
    """Returns the pipeline of the flights, with features for the monitor."""
    declared = load_pipeline("stream_app.examples.flights:pipeline")
    return replace(declared, alarms=alarms, publish_features=True)


class MonitoredFlights:
    """Flights that are scored, learned and monitored.

    Args:
        served: the flights.
        declared: their pipeline.
    """

    def __init__(self, served: ServedFlights, declared: Pipeline) -> None:
        self._served = served
        self._pipeline = declared
        self._monitor = StreamMonitor(declared)
        self._passed = 0

    def copied(self) -> "MonitoredFlights":
        """Returns a copy that continues at the same moment."""
        state = orjson.loads(orjson.dumps(self._monitor.to_state()))
        copy = MonitoredFlights(self._served.copied(), self._pipeline)
        copy._monitor = StreamMonitor.from_state(self._pipeline, state)
        copy._passed = self._passed
        return copy

    def change_version(self) -> None:
        """Note that another model is served."""
        self._monitor.change_version()

    def until(
        self, end: int, change: Change | None = None, seed: int = 0, **sent: Any
    ) -> Iterator[AlarmRecord]:
        """Yields the alarms that are opened up to a time, exclusive.

        Args:
            end: time in Unix milliseconds.
            change: returns the label that is sent instead of the true one.
            seed: seed of the changes.
            sent: changes of flights and loss of labels, as of `ServedFlights.moments`.
        """
        for moment in self._served.moments(end, change, seed, **sent):
            if isinstance(moment, ServedLabel):
                self._monitor.example(example_of(moment), moment.offset)
                time = moment.label_time
            else:
                time, features, score = moment
                if features is not None:
                    self._monitor.scored(_scored(time, features, score), None, self._passed)
            passed = floor_time(time, STEP_MS)
            if passed > self._passed:
                self._passed = passed
                for output in self._monitor.pass_events(passed) + self._monitor.pass_clock(passed):
                    if output.topic != "alarms":
                        continue
                    alarm = decode_alarm(output.value)
                    if alarm is not None and alarm.is_open and alarm.n == 1:
                        yield alarm


def _scored(time: int, features: dict[str, Any], score: float) -> Any:
    return {
        "event_id": str(time),
        "event_time": time,
        "model": {"version": 1},
        "features": features,
        "score": score,
    }


def main() -> None:
    """Prints the alarms of the clean year, and when each poisoning was found."""
    clean = MonitoredFlights(ServedFlights(read_year(unlabelled=True)), pipeline())
    first = int(FIRST.timestamp() * 1000)
    found: list[float] = []
    alarms: list[AlarmRecord] = []
    for number in range(POISONINGS):
        alarms += clean.until(start_of(number))
        start = start_of(number)
        poisoned = clean.copied()
        for alarm in poisoned.until(start + FOUND_WITHIN_MS, flipped(0.2)):
            if alarm.name in ("label-flips", "positive-share"):
                found.append((alarm.opened_at - start) / HOUR_MS)
                break
        print(f"poisoning {number}: {found[-1:] if len(found) else None}", flush=True)
    alarms += clean.until(2**62)
    for alarm in alarms:
        before = " (before the first poisoning)" if alarm.opened_at < first else ""
        print(
            f"{alarm.name} {iso_time(alarm.opened_at)} since {iso_time(alarm.since)} "
            f"{alarm.cause}{before}"
        )
    found.sort()
    print(f"found {len(found)} of {POISONINGS}, median {found[len(found) // 2]:.0f} h")


if __name__ == "__main__":
    main()
