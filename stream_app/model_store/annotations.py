"""What decisions leave on `<pipeline>.models` besides aliases: which versions are pinned, and whether learning is held.

They can be read off the topic at once; the learner itself goes by the control records in `<pipeline>.examples`.
"""

from typing import NamedTuple

import orjson

from stream_app.errors import ModelError
from stream_app.records import Output

LEARNING_KEY = "learning"
PIN = "pin/"


class Annotation(NamedTuple):
    """Who said so, when (ISO 8601) and why; `held` is whether learning is, and true of a pin."""

    held: bool
    at: str
    who: str
    why: str


def learning_mark(mark: Annotation) -> Output:
    """The record that says whether learning is held."""
    return Output("models", 0, LEARNING_KEY.encode(), orjson.dumps(mark._asdict()))


def pin_mark(version: int, mark: Annotation | None) -> Output:
    """The record that pins a version, or with None takes the pin away."""
    return Output(
        "models",
        0,
        f"{PIN}{version}".encode(),
        None if mark is None else orjson.dumps(mark._asdict()),
    )


def pinned_version(key: str) -> int | None:
    """The version that a key pins, or None for another key.

    >>> pinned_version("pin/12"), pinned_version("version/12")
    (12, None)
    """
    number = key.removeprefix(PIN)
    return int(number) if number != key and number.isdecimal() else None


def decode_mark(value: bytes) -> Annotation:
    """What a mark says; ModelError if it is none."""
    try:
        return Annotation(**orjson.loads(value))
    except (ValueError, TypeError):
        raise ModelError(
            "a mark on the models topic cannot be read", "Was the topic written to by hand?"
        ) from None
