"""Events and labels in the order in which the world learns of them."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from stream_app.core.reading.record_reader import EventReader
from stream_app.pipeline import Pipeline
from stream_app.records import Features, Fields

T = TypeVar("T")

END_OF_TIME = 2**62
"""Epoch milliseconds; seen from there no record is in the future."""


def time_reader(pipeline: Pipeline) -> EventReader:
    """Reads what an event of a loaded pipeline says and when it was; the features are left to the scorer."""
    return EventReader(replace(pipeline, features=_no_features))


def _no_features(_: Fields) -> Features:
    return {"none": True}


class Timed(NamedTuple, Generic[T]):
    """Something with the time of the event, or at which the label became known (epoch ms); None if it has none."""

    time: int | None
    item: T


def in_time_order(events: Iterable[Timed[T]], labels: Iterable[Timed[T]]) -> Iterator[Timed[T]]:
    """Events in their own order; before each one the labels that became known before it, at the end all others.

    Time never runs backwards: it is the largest event time so far. A label without a time comes with the one before it.
    Labels are read at once and held in memory, events are not.
    """
    return _merged(events, deque(_sorted(labels)))


def _merged(events: Iterable[Timed[T]], waiting: deque[tuple[int, Timed[T]]]) -> Iterator[Timed[T]]:
    now = -END_OF_TIME
    for event in events:
        now = now if event.time is None else max(now, event.time)
        while waiting and waiting[0][0] < now:
            yield waiting.popleft()[1]
        yield event
    yield from (label for _, label in waiting)


def _sorted(labels: Iterable[Timed[T]]) -> list[tuple[int, Timed[T]]]:
    timed = []
    last = -END_OF_TIME
    for label in labels:
        last = last if label.time is None else label.time
        timed.append((last, label))
    return sorted(timed, key=lambda pair: pair[0])
