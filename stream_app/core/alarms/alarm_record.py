"""Record of an alarm on `<p>.alarms`, as it is written at each change."""

from typing import Literal, NamedTuple, get_args

import orjson

from stream_app.core.published_records import ExampleOffsets
from stream_app.formatting import iso_time
from stream_app.records import Output

AlarmName = Literal[
    "label-flips", "positive-share", "event-volume", "label-coverage", "input-drift"
]
ALARM_NAMES: tuple[AlarmName, ...] = get_args(AlarmName)
WRONG_LABELS: tuple[AlarmName, ...] = ("label-flips", "positive-share")
"""Alarms about one cause, wrong labels; the check that finds it first names the alarm."""
# Alarms that call nobody.
_TELLING: frozenset[str] = frozenset({"input-drift"})
_TIMES = ("since", "opened_at", "updated_at")


class AlarmRecord(NamedTuple):
    """Alarm as it was at its last change; `schemas/alarm.avsc` documents it.

    All times are those of events and labels, in Unix milliseconds.

    Attributes:
        name: name of the alarm.
        source: what it is about, such as `events`, `labels` or `inputs`.
        since: time since which there is evidence.
        opened_at: time up to which all partitions were read when it was opened.
        updated_at: the same of the last evidence.
        closed_at: the same when it was closed, None while it is open.
        strength: greatest evidence by its limit, at least 1.
        n: number of times that the evidence reached its limit.
        cause: what the first evidence says.
        culprits: names of the inputs that drift.
        examples: offsets of the labels since eight hours before `since`, if it is about labels.
    """

    name: str
    source: str
    since: int
    opened_at: int
    updated_at: int
    closed_at: int | None
    strength: float
    n: int
    cause: str
    culprits: tuple[str, ...] = ()
    examples: ExampleOffsets | None = None

    @property
    def id(self) -> str:
        """Id of the alarm; no two of a name and source open within the same minute.

        >>> AlarmRecord("event-volume", "events", 0, 900_000, 900_000, None, 1.0, 1, "few").id
        'event-volume/events/1970-01-01T00:15Z'
        """
        return f"{self.name}/{self.source}/{iso_time(self.opened_at)[:16]}Z"

    @property
    def is_open(self) -> bool:
        """True until it is closed."""
        return self.closed_at is None

    @property
    def pages(self) -> bool:
        """True if the alarm calls somebody while it is open."""
        return self.name not in _TELLING

    def output(self, pipeline: str) -> Output:
        """Return the record to write, with the id as its key."""
        fields = {
            "id": self.id,
            "pipeline": pipeline,
            **self._asdict(),
            "examples": None if self.examples is None else self.examples._asdict(),
            "pages": self.pages,
        }
        return Output("alarms", 0, self.id.encode(), orjson.dumps(fields))


def decode_alarm(value: bytes | None) -> AlarmRecord | None:
    """Return the alarm of a record, None if the value is none.

    >>> one = AlarmRecord("input-drift", "inputs", 0, 5, 9, None, 1.5, 2, "fare (90%)", ("fare",))
    >>> decode_alarm(one.output("p").value) == one, decode_alarm(b"{}")
    (True, None)
    """
    try:
        fields = orjson.loads(value or b"")
        examples = fields["examples"]
        found = AlarmRecord(
            **{name: fields[name] for name in AlarmRecord._fields[:-2]},
            culprits=tuple(fields["culprits"]),
            examples=None if examples is None else ExampleOffsets(**examples),
        )
    except (ValueError, KeyError, TypeError):
        return None
    times = [getattr(found, name) for name in _TIMES]
    is_valid = (
        all(type(number) is int for number in (*times, found.n))
        and type(found.closed_at) in (int, type(None))
        and type(found.strength) in (int, float)
        and all(type(text) is str for text in (found.name, found.source, found.cause))
        and all(type(name) is str for name in found.culprits)
        and fields.get("id") == found.id
    )
    return found if is_valid else None
