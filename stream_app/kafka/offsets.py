"""Partitions and offsets of topics, asked for with the client that will read or write them.

An admin client could answer as well, but closing one takes librdkafka up to a second.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from confluent_kafka import OFFSET_END, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import ClusterMetadata

from stream_app.errors import FencedError, TopicsError
from stream_app.kafka.clients import ConnectionErrors, check_visible, leaders_reloaded_on_error
from stream_app.retrying import wait_until

PartitionId = tuple[str, int]
"""Full name of a topic and number of one of its partitions."""

OffsetBounds = Mapping[PartitionId, tuple[int, int]]
"""Beginning and end offset of each partition; the end is the last stable offset."""

# Seconds to wait after a commit until every consumer can read what was committed.
VISIBLE_SECONDS = 5.0

_DEADLINE_SECONDS = 8.0
# Ctrl-C is noticed between two requests.
_REQUEST_SECONDS = 1.0
_STABLE_POLL_SECONDS = 0.02
T = TypeVar("T")


def find_partitions(
    client: Consumer | Producer, errors: ConnectionErrors, topics: Iterable[str]
) -> list[PartitionId]:
    """Return all partitions of the topics.

    Raises:
        TopicsError: a topic is missing.
        AccessError: the cluster rejects this client.
        KafkaUnavailableError: no answer within 8 s.
    """
    cluster: ClusterMetadata = _request(
        errors, client, lambda: client.list_topics(timeout=_REQUEST_SECONDS)
    )
    counts = {
        name: len(cluster.topics[name].partitions) if name in cluster.topics else 0
        for name in topics
    }
    missing = [name for name, count in counts.items() if not count]
    if missing:
        check_visible(client, missing)
        raise TopicsError(
            f"Topic {', '.join(missing)} does not exist",
            "Run `stream-app topics create PIPELINE`, or correct PIPELINE",
        )
    return [(name, partition) for name, count in counts.items() for partition in range(count)]


def topic_names(client: Consumer | Producer, errors: ConnectionErrors) -> list[str]:
    """Return the names of all topics that have partitions; raises as `cluster_id`."""
    cluster: ClusterMetadata = _request(
        errors, client, lambda: client.list_topics(timeout=_REQUEST_SECONDS)
    )
    return [name for name, topic in cluster.topics.items() if topic.partitions]


def cluster_id(client: Consumer | Producer, errors: ConnectionErrors) -> str:
    """Return the id that the cluster was given when its storage was formatted."""
    cluster: ClusterMetadata = _request(
        errors, client, lambda: client.list_topics(timeout=_REQUEST_SECONDS)
    )
    return str(cluster.cluster_id)


def offset_bounds(
    consumer: Consumer, errors: ConnectionErrors, partitions: Iterable[PartitionId]
) -> OffsetBounds:
    """Return the beginning and end offsets of partitions; transaction markers count as offsets."""

    def bounds(one: PartitionId) -> tuple[int, int]:
        with leaders_reloaded_on_error(consumer, one[:1]):
            found: tuple[int, int] = consumer.get_watermark_offsets(
                TopicPartition(*one), timeout=_REQUEST_SECONDS, cached=False
            )
            return found

    return {one: _request(errors, consumer, partial(bounds, one)) for one in partitions}


def offsets_since(
    consumer: Consumer, errors: ConnectionErrors, ends: Mapping[PartitionId, int], since: int
) -> Mapping[PartitionId, int]:
    """Return the first offset with a timestamp of at least `since`, the end where there is none.

    Args:
        ends: end offsets of the partitions to search.
        since: Unix milliseconds.
    """
    wanted = [TopicPartition(*one, max(since, 0)) for one in ends]

    def call() -> list[TopicPartition]:
        with leaders_reloaded_on_error(consumer, [topic for topic, _ in ends]):
            answers: list[TopicPartition] = consumer.offsets_for_times(
                wanted, timeout=_REQUEST_SECONDS
            )
            return answers

    found = _request(errors, consumer, call)
    offsets = {(answer.topic, answer.partition): answer.offset for answer in found}
    return {one: ends[one] if offset == OFFSET_END else offset for one, offset in offsets.items()}


def wait_until_stable(stable_end: Callable[[], int], written: int, timeout: float) -> bool:
    """Wait until every transaction below an offset is committed or aborted.

    Args:
        stable_end: returns the present last stable offset.
        written: offset after the last record, committed or not.
        timeout: seconds.

    Returns:
        False if a transaction is still open at the end of the time.
    """
    deadline = time.monotonic() + timeout
    return wait_until(deadline, lambda: stable_end() >= written, _STABLE_POLL_SECONDS)


def open_transaction(topic: str) -> FencedError:
    """Return the error of a command that cannot decide before a transaction has ended."""
    return FencedError(f"A transaction on {topic} stays open", "Repeat the command later")


def _request(errors: ConnectionErrors, client: Consumer | Producer, call: Callable[[], T]) -> T:
    """Return the answer; repeats the request while the cluster starts or leaders move."""
    deadline, noted = time.monotonic() + _DEADLINE_SECONDS, None
    while time.monotonic() < deadline and not errors.rejected:
        # Lets the client fetch a token.
        client.poll(0)
        try:
            answer = call()
        except KafkaException as error:
            noted = error.args[0]
            errors.last = errors.last or noted
            # Lets the client report errors of the connection.
            client.poll(0.05)
        else:
            # The error has passed. Otherwise it would count as one of the connection.
            if errors.last is noted:
                errors.last = None
            return answer
    raise errors.unavailable()
