"""Records that the demo sends, in event time, with some mistakes of producers; and their rate."""

from collections import deque
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, NamedTuple

import orjson

from stream_app.examples.nycflights import Item
from stream_app.topic_kinds import TopicKind


class ScheduledSend(NamedTuple):
    """Record to produce.

    Attributes:
        kind: topic.
        time: event time or label time in Unix milliseconds.
        key: key of the record.
        value: value of the record.
        teaches: event id of a label that will be learned, None for other records.
    """

    kind: TopicKind
    time: int
    key: bytes
    value: bytes
    teaches: str | None = None


def scheduled_sends(items: Iterable[Item], mistakes: float, seed: int) -> Iterator[ScheduledSend]:
    """Yield the records of a timeline, some of them with mistakes.

    A record may be sent twice, truncated, or have a field of a wrong type. The label of a broken
    event is sent nevertheless, as happens in practice.

    Args:
        items: events and labels in the order of their times.
        mistakes: share of records with a mistake.
        seed: seed of the random choice.
    """
    random = Random(seed)
    broken: set[str] = set()
    for kind, time, fields in items:
        name = fields["event_id"]
        key, value = name.encode(), orjson.dumps(fields)
        mistake = random.choice(("twice", "cut", "type")) if random.random() < mistakes else ""
        if mistake == "cut":
            value = value[: len(value) // 2]
        elif mistake == "type":
            value = orjson.dumps(_with_wrong_type(kind, fields))
        if mistake in ("cut", "type"):
            broken.add(name)
        yield ScheduledSend(
            kind, time, key, value, name if kind == "labels" and name not in broken else None
        )
        if mistake == "twice":
            yield ScheduledSend(kind, time, key, value)


def _with_wrong_type(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "late": "perhaps"} if kind == "labels" else {**fields, "distance": "far"}


class RateLimiter:
    """Limits a replay to the speed of the learner.

    An event may be sent only if the model has learned every label that was known `limit`
    milliseconds of event time before it. In real time a model lags behind the labels by seconds; in
    a replay at twenty thousand times that speed it would lag by weeks.

    Args:
        limit: milliseconds of event time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Label time and event id, in the order sent.
        self._unlearned: deque[tuple[int, str]] = deque()
        self._learned: set[str] = set()

    def sent(self, label_time: int, event_id: str) -> None:
        """Add a label that was sent to the learner."""
        self._unlearned.append((label_time, event_id))

    def learned(self, event_id: str) -> None:
        """Remove the label of an event that the published model has learned."""
        self._learned.add(event_id)

    def allows(self, event_time: int) -> bool:
        """Return True if a record of this time may be sent now."""
        unlearned = self._unlearned
        while unlearned and unlearned[0][1] in self._learned:
            self._learned.discard(unlearned.popleft()[1])
        return not unlearned or event_time <= unlearned[0][0] + self._limit
