"""Events and labels by hour of event time, as the watermarks of all partitions pass them."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from stream_app.core.alarms.evidence import HOUR_MS, PlainState
from stream_app.core.monitoring.log_alignment import MAX_STEP_MS, floor_time
from stream_app.core.reading.event_time import NEVER

# An hour closes so long after its end.
SLACK_MS = HOUR_MS // 4


class CountedHour(NamedTuple):
    """Hour of event time.

    Attributes:
        start: its start in Unix milliseconds.
        events: number of events by source.
        labelled: number of them whose label became known in time, by source of the label.
    """

    start: int
    events: Mapping[str, int]
    labelled: Mapping[str, int]


Counts = dict[int, dict[str, int]]
"""Counts by hour and source."""


class HourCounts:
    """Counts of hours that are not over, or wait for their labels.

    Args:
        labelled_within: time after the end of an hour within which labels count, in milliseconds.
    """

    def __init__(self, labelled_within: int) -> None:
        self._within = labelled_within
        self._events: Counts = {}
        self._labelled: Counts = {}
        # Next hours to close: of events, and of labels.
        self._next_hour = NEVER
        self._next_labelled = NEVER

    def add_event(self, time: int, reached: int, source: str) -> None:
        """Count an event.

        Args:
            time: time of the event in Unix milliseconds.
            reached: watermark of its partition; an event that is behind it by more than its hour
                is late and not counted, in whatever order the partitions are read.
            source: name of its source.
        """
        hour = time - time % HOUR_MS
        if hour + HOUR_MS + SLACK_MS > reached:
            _count(self._events, hour, source)

    def add_label(self, event_time: int, label_time: int, source: str) -> None:
        """Count a label of a source if it became known in time."""
        hour = event_time - event_time % HOUR_MS
        if label_time <= hour + HOUR_MS + self._within and hour >= self._next_labelled:
            _count(self._labelled, hour, source)

    def pass_events(self, time: int) -> Iterator[CountedHour]:
        """Yield the hours that closed, in order, those without events too.

        Args:
            time: time that the events of all partitions have passed, in Unix milliseconds.
        """
        closed = floor_time(time - SLACK_MS, HOUR_MS)
        if self._next_hour == NEVER or closed - self._next_hour > MAX_STEP_MS:
            # The first hour was not read from its beginning; after a jump hours are left out.
            self._next_hour = self._next_labelled = closed + HOUR_MS
            _forget(self._events, self._next_hour)
            _forget(self._labelled, self._next_hour)
        while self._next_hour < closed:
            yield CountedHour(self._next_hour, self._events.get(self._next_hour, {}), {})
            self._next_hour += HOUR_MS

    def pass_clock(self, time: int) -> Iterator[CountedHour]:
        """Yield the hours whose labels are complete, in order.

        Args:
            time: time that the clocks of all partitions have passed, in Unix milliseconds.
        """
        if self._next_hour == NEVER:
            return
        closed = min(floor_time(time - self._within, HOUR_MS), self._next_hour)
        while self._next_labelled < closed:
            hour = self._next_labelled
            self._next_labelled += HOUR_MS
            yield CountedHour(hour, self._events.pop(hour, {}), self._labelled.pop(hour, {}))
        _forget(self._events, self._next_labelled)

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        counts = [
            [[hour, dict(sorted(found.items()))] for hour, found in sorted(one.items())]
            for one in (self._events, self._labelled)
        ]
        return [self._next_hour, self._next_labelled, *counts]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._next_hour, self._next_labelled = state[0], state[1]
        self._events, self._labelled = (
            {hour: dict(found) for hour, found in counts} for counts in state[2:]
        )


def _count(counts: Counts, hour: int, source: str) -> None:
    found = counts.get(hour)
    if found is None:
        counts[hour] = {source: 1}
    else:
        found[source] = found.get(source, 0) + 1


def _forget(counts: Counts, before: int) -> None:
    for hour in [hour for hour in counts if hour < before]:
        del counts[hour]
