"""Reading a pipeline's topics: committed records, from a chosen place to a chosen place or for ever."""

import time
from collections.abc import Generator, Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream_app.errors import TopicsError
from stream_app.kafka.access_errors import failure
from stream_app.kafka.clients import ConnectionErrors, bootstrap_servers, make_consumer
from stream_app.kafka.offsets import Limits, Place, bounds, find_partitions, offsets_since
from stream_app.settings import Settings
from stream_app.topic_kinds import topic_name
from stream_app.transfer.record_selection import Kind, RecordSelection, Start

_BATCH = 500  # records
_WAIT = 0.1  # seconds for a batch; Ctrl-C is noticed in between
_FETCH_MS = 50  # with more, a partition without news holds up the others
_SILENCE = 10.0  # seconds without a record after which a reported error is looked into


def consume(
    settings: Settings, pipeline: str, selection: RecordSelection
) -> Generator[list[Message]]:
    """Batches of records, in order within each partition; an empty one at least every 0.1 s.

    Raises `TopicsError` for a missing topic, `AccessError` if the cluster refuses us, `KafkaUnavailableError` if it is
    away for long.
    """
    errors = ConnectionErrors(bootstrap_servers(settings), settings.kafka)
    consumer = make_consumer(settings, errors, fetch_wait_max_ms=_FETCH_MS)
    try:
        limits = bounds(
            consumer, errors, find_partitions(consumer, errors, _topics(pipeline, selection.kind))
        )
        starts = _starts(consumer, errors, limits, selection.start)
        reader = _Reader(consumer, errors, starts, _ends(limits) if selection.until_end else None)
        yield from (
            reader.batches()
            if selection.limit is None
            else _limited(reader.batches(), selection.limit)
        )
    finally:
        consumer.close()


def between(
    consumer: Consumer, errors: ConnectionErrors, limits: Limits
) -> Iterator[list[Message]]:
    """Batches of the records with start <= offset < end, in order within each partition; raises what `consume` raises.

    The consumer gets other partitions by it. An empty batch comes at least every 0.1 s.
    """
    starts = {place: start for place, (start, _) in limits.items()}
    return _Reader(consumer, errors, starts, _ends(limits)).batches()


def _topics(pipeline: str, kind: Kind) -> list[str]:
    return [
        topic_name(pipeline, name)
        for name in (("raw.dlq", "labels.dlq") if kind == "dead-letters" else (kind,))
    ]


def _starts(
    consumer: Consumer, errors: ConnectionErrors, limits: Limits, start: Start
) -> Mapping[Place, int]:
    if start == "now":
        return _ends(limits)
    if start == "beginning":
        return {place: first for place, (first, _) in limits.items()}
    return offsets_since(consumer, errors, _ends(limits), start)


def _ends(limits: Limits) -> Mapping[Place, int]:
    return {place: end for place, (_, end) in limits.items()}


def _limited(batches: Iterator[list[Message]], limit: int) -> Iterator[list[Message]]:
    for batch in batches:
        yield batch[:limit]
        limit -= len(batch)
        if limit <= 0:
            return


class _Reader:
    """Reads from `starts`; with `ends`, until every partition's position has reached its end.

    The position and not the last record tells, for markers of transactions have offsets and are no records.
    """

    def __init__(
        self,
        consumer: Consumer,
        errors: ConnectionErrors,
        starts: Mapping[Place, int],
        ends: Mapping[Place, int] | None,
    ) -> None:
        self._consumer = consumer
        self._errors = errors
        self._ends = ends or {}
        self._ahead = {place for place, end in self._ends.items() if starts[place] < end}
        self._endless = ends is None
        self._heard = time.monotonic()
        chosen = starts if self._endless else self._ahead
        consumer.assign([TopicPartition(*place, starts[place]) for place in chosen])

    def batches(self) -> Iterator[list[Message]]:
        while self._endless or self._ahead:
            messages = self._consumer.consume(_BATCH, _WAIT)
            self._check_connection(bool(messages))
            yield [message for message in messages if self._is_wanted(message)]

    def _is_wanted(self, message: Message) -> bool:
        place, offset, error = (
            (message.topic() or "", message.partition() or 0),
            message.offset() or 0,
            message.error(),
        )
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            _raise_unless_passing(place[0], error)
            return False
        position = offset if error is not None else offset + 1
        end = self._ends.get(place)
        if end is not None and position >= end:
            self._ahead.discard(place)
        return error is None and (end is None or offset < end)

    def _check_connection(self, heard: bool) -> None:
        """An idle topic is silent and so is a lost cluster; only when an error was reported it is worth asking."""
        if heard or self._errors.last is None:
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > _SILENCE:
            try:
                self._consumer.list_topics(timeout=1.5)
            except KafkaException:
                raise self._errors.unavailable() from None
            self._errors.last = None
        if self._errors.hopeless:
            raise self._errors.unavailable()


def _raise_unless_passing(topic: str, error: KafkaError) -> None:
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        raise TopicsError(f"Topic {topic} was deleted", "Run `stream-app topics create PIPELINE`")
    if error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise failure(error, f"read {topic}")
