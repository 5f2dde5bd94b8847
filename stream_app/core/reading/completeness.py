"""Completeness records: how far an input is complete, by source and part.

`docs/clock.md` documents the format. They have no value, so no reader takes them for an event or a
label.
"""

from typing import Literal, NamedTuple, cast, get_args

import orjson

from stream_app.core.reading.event_time import FIRST_MS, LAST_MS, MAX_AHEAD_MS
from stream_app.headers import COMPLETENESS
from stream_app.records import Failure, Headers, Record

PartState = Literal["open", "idle", "complete"]
"""State of a part: it continues, it has nothing to read, or it only promises."""

ALL_SOURCES = ""
MAX_PARTS = 1024
_STATES: tuple[PartState, ...] = get_args(PartState)
MAX_NAME = 200
_MAX_BYTES = 2048


class Completeness(NamedTuple):
    """Statement that no earlier record of a part of a source follows.

    Attributes:
        source: name of the source; `ALL_SOURCES` for all of them together.
        part: number of the part, from 0.
        parts: number of parts of the source.
        until: time in Unix milliseconds; None if nothing is known yet.
        state: state of the part.
    """

    source: str
    until: int | None
    part: int = 0
    parts: int = 1
    state: PartState = "complete"

    def headers(self) -> Headers:
        """Return the headers of its record, which has no value.

        >>> Completeness("bank", 1).headers()[0][1]
        b'{"source":"bank","until":1,"part":0,"parts":1,"state":"complete"}'
        """
        return [(COMPLETENESS, orjson.dumps(self._asdict()))]


def is_completeness(record: Record) -> bool:
    """Return True if a record claims to be a completeness record."""
    return not record.value and any(name == COMPLETENESS for name, _ in record.headers)


def read_completeness(record: Record, now: int) -> Completeness | Failure:
    """Return what a completeness record says; `now` is in Unix milliseconds.

    A time ahead of `now` counts as `now`. Failure: `completeness-invalid`.
    """
    contents = [content for name, content in record.headers if name == COMPLETENESS]
    if len(contents) != 1 or len(contents[0] or b"") > _MAX_BYTES:
        return _failure("the header is repeated or too long")
    try:
        fields = orjson.loads(contents[0] or b"")
    except ValueError:
        return _failure("the header is not JSON")
    if type(fields) is not dict or fields.keys() != set(Completeness._fields):
        return _failure(f"the header is not an object of {', '.join(Completeness._fields)}")
    found = Completeness(**fields)
    problem = _problem(found, now)
    if problem is not None:
        return _failure(problem)
    return found if found.until is None else found._replace(until=min(found.until, now))


def _problem(found: Completeness, now: int) -> str | None:
    """Return why the fields are no statement, None if they are one."""
    source, until, part, parts, state = cast(tuple[object, object, object, object, object], found)
    if type(source) is not str or len(source) > MAX_NAME:
        return f"source is not a name of up to {MAX_NAME} characters"
    if type(parts) is not int or not 1 <= parts <= MAX_PARTS:
        return f"parts is not a number from 1 to {MAX_PARTS}"
    if type(part) is not int or not 0 <= part < parts:
        return "part is not a number below parts"
    if state not in _STATES:
        return f"state is none of {', '.join(_STATES)}"
    if source == ALL_SOURCES and (state != "complete" or parts != 1):
        return "all sources together have one part, which is complete"
    if until is None:
        return "until is missing" if state == "complete" else None
    if type(until) is not int or not FIRST_MS <= until <= LAST_MS:
        return "until is not a time in Unix milliseconds"
    return "until is more than a day ahead" if until > now + MAX_AHEAD_MS else None


def _failure(problem: str) -> Failure:
    return Failure("completeness-invalid", f"the completeness record is invalid: {problem}")
