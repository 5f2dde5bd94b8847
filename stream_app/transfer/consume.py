"""Selection of records and their consumption: from a start to an end, or without end."""

import re
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from confluent_kafka import Message

from stream_app.core.reading.event_time import to_unix_ms
from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.settings import Settings
from stream_app.topic_kinds import DEAD_LETTER_KINDS, topic_name

SelectedKind = Literal[
    "raw",
    "labels",
    "scored",
    "label_outcomes",
    "dead-letters",
    "monitoring",
    "alarms",
    "examples",
    "models",
]
"""Kind of topic that users consume; "dead-letters" are both topics of dead letters."""

Start = Literal["beginning", "now"] | int
"""An integer is a Kafka timestamp in Unix milliseconds."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSelection:
    """Records of a topic.

    Attributes:
        kind: kind of topic.
        start: where reading begins.
        limit: largest number of records, None for all.
        until_end: True to stop at the ends that the topics have when reading begins, False to
            follow them.
    """

    kind: SelectedKind
    start: Start = "now"
    limit: int | None = None
    until_end: bool = False


def parse_duration(text: str) -> int | None:
    """Return a duration such as `10m` (units s, m, h, d) in seconds, or None if it is not one.

    >>> parse_duration("3d"), parse_duration("three days")
    (259200, None)
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def parse_since(text: str, now: float | None = None) -> int | None:
    """Return a time in Unix milliseconds, or None if the text is not one.

    Args:
        text: duration before now such as `10m` (units s, m, h, d), or an ISO 8601 time, which is
            UTC unless it has an offset.
        now: Unix seconds, the present time by default.

    >>> parse_since("2h", now=7260.0)
    60000
    >>> parse_since("1970-01-02")
    86400000
    """
    ago = parse_duration(text)
    if ago is not None:
        return round(((time.time() if now is None else now) - ago) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return to_unix_ms((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat())


def consume(
    settings: Settings, pipeline: str, selection: RecordSelection
) -> Generator[list[Message]]:
    """Yield batches of records, in order within each partition; an empty one at least every 0.1 s.

    A selection without end waits out an outage that begins after the first batch, and reports it on
    standard error.

    Args:
        pipeline: name of the pipeline.
        selection: topics, start and end.

    Raises:
        TopicsError: a topic is missing.
        AccessError: the cluster rejects this client.
        KafkaUnavailableError: the cluster does not answer for some seconds, when reading begins or
            a selection with an end is read.
    """
    with PartitionReader.open(settings) as reader:
        bounds = reader.topic_bounds(_topics(pipeline, selection.kind))
        ends = {one: end for one, (_, end) in bounds.items()}
        starts = _starts(reader, bounds, ends, selection.start)
        reader.assign(starts, ends if selection.until_end else None)
        batches = reader.rest() if selection.until_end else _follow(settings, reader, starts)
        yield from (batches if selection.limit is None else _limited(batches, selection.limit))


def _follow(
    settings: Settings, reader: PartitionReader, starts: Mapping[PartitionId, int]
) -> Iterator[list[Message]]:
    """Yield batches without end; after an outage a new reader continues where the last one was."""
    try:
        while True:
            try:
                for batch in reader.rest():
                    # Not earlier: what an interrupted poll has read is read again.
                    starts = {**starts, **reader.positions}
                    yield batch
            except KafkaUnavailableError as error:
                sys.stderr.write(f"{error}. Reading again.\n")
                reader.close_in_background()
                reader = PartitionReader.open(settings)
                reader.assign(starts)
    finally:
        reader.close()


def _topics(pipeline: str, kind: SelectedKind) -> list[str]:
    kinds = DEAD_LETTER_KINDS if kind == "dead-letters" else (kind,)
    return [topic_name(pipeline, one) for one in kinds]


def _starts(
    reader: PartitionReader, bounds: OffsetBounds, ends: Mapping[PartitionId, int], start: Start
) -> Mapping[PartitionId, int]:
    if start == "now":
        return ends
    if start == "beginning":
        return {one: first for one, (first, _) in bounds.items()}
    return reader.offsets_since(ends, start)


def _limited(batches: Iterator[list[Message]], limit: int) -> Iterator[list[Message]]:
    for batch in batches:
        yield batch[:limit]
        limit -= len(batch)
        if limit <= 0:
            return
