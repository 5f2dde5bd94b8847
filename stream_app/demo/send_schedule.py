"""What the demo sends: real flights in event time, and now and then what producers do wrong."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, NamedTuple

import orjson

from stream_app.examples.nycflights import Item


class ScheduledSend(NamedTuple):
    """One record to produce; `time` is epoch milliseconds, `teaches` an event id if its label will be learned."""

    kind: str
    time: int
    key: bytes
    value: bytes
    teaches: str | None = None


def sendings(items: Iterable[Item], mistakes: float, seed: int) -> Iterator[ScheduledSend]:
    """The timeline with a share of `mistakes` among events and labels: sent twice, cut short, a field of a wrong type.

    The label of a broken event is sent all the same, as in life.
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
