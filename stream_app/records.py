"""Records that enter and leave the core, and the types of their contents."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from stream_app.topic_kinds import TopicKind

T = TypeVar("T", bound=tuple[Any, ...])

Fields = dict[str, Any]
"""A decoded record: field name to value."""

Features = dict[str, float | int | bool | str]
"""Input of a model: finite numbers, booleans and strings by name."""

Target = bool | str | float
"""Value of a label: true or false, a class, or a number."""

Score = float | Mapping[str, float]
"""Output of a model: the probability of true, that of each class, or the predicted number."""

Headers = Sequence[tuple[str, bytes | None]]

# Dead-letter, state and example topics accept records that are this much larger than raw ones.
ENVELOPE_BYTES = 64 * 1024


class Record(NamedTuple):
    """Kafka record as it was read.

    Attributes:
        topic: full name.
        timestamp: time set by the producer or the broker, in Unix milliseconds.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class UnreadableRecord(Record):
    """Offset at which a record cannot be decoded, as its batch is corrupt: without key and value.

    >>> UnreadableRecord("payments.raw", 0, 17, -1, None, None).value is None
    True
    """

    __slots__ = ()


class InputPartition(NamedTuple):
    """Partition of an input topic; `topic` is the full name."""

    topic: str
    partition: int


class Output(NamedTuple):
    """Record to be written.

    Attributes:
        topic: kind of the topic, such as "scored" or "raw.dlq", without the pipeline's name.
    """

    topic: TopicKind
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def fast_namedtuple(kind: type[T]) -> Callable[[tuple[Any, ...]], T]:
    """Return a constructor from a tuple of all fields, three times as fast as calling the class.

    >>> fast_namedtuple(Output)(("scored", 0, b"key", b"value", ()))
    Output(topic='scored', partition=0, key=b'key', value=b'value', headers=())
    """
    return cast(Callable[[tuple[Any, ...]], T], partial(tuple.__new__, kind))


def output_size(output: Output) -> int:
    """Return the largest size of a record in a batch: key, value, headers and framing."""
    _, _, key, value, headers = output
    framed = 0
    for name, content in headers:
        framed += len(name) * 4 + len(content or b"") + 10
    return len(key or b"") + len(value or b"") + framed + 100


class Failure(NamedTuple):
    """Expected failure of one record, returned and never raised.

    Attributes:
        code: key of `stream_app.error_codes.ERROR_CODES`.
        message: cause, with names of fields and types but no values.
        exception: exception that caused it, if any.
    """

    code: str
    message: str
    exception: BaseException | None = None
