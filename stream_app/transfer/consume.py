"""Consumption of a pipeline's topics: committed records from a start to an end, or without end."""

from collections.abc import Generator, Iterator, Mapping

from confluent_kafka import Message

from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.reader import PartitionReader
from stream_app.settings import Settings
from stream_app.topic_kinds import DEAD_LETTER_KINDS, topic_name
from stream_app.transfer.record_selection import RecordSelection, SelectedKind, Start


def consume(
    settings: Settings, pipeline: str, selection: RecordSelection
) -> Generator[list[Message]]:
    """Yield batches of records, in order within each partition; an empty one at least every 0.1 s.

    Args:
        pipeline: name of the pipeline.
        selection: topics, start and end.

    Raises:
        TopicsError: a topic is missing.
        AccessError: the cluster rejects this client.
        KafkaUnavailableError: the cluster does not answer for some seconds.
    """
    with PartitionReader.open(settings) as reader:
        bounds = reader.topic_bounds(_topics(pipeline, selection.kind))
        ends = {one: end for one, (_, end) in bounds.items()}
        starts = _starts(reader, bounds, ends, selection.start)
        reader.assign(starts, ends if selection.until_end else None)
        batches = reader.rest()
        yield from (batches if selection.limit is None else _limited(batches, selection.limit))


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
