"""Where topics begin and end: partitions and offsets, asked for by the client that will use them.

An admin client could tell as well, but ending one takes librdkafka up to a second.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from confluent_kafka import OFFSET_END, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import ClusterMetadata

from stream_app.errors import TopicsError
from stream_app.kafka.clients import ConnectionErrors, check_visible

Place = tuple[str, int]
"""A topic and a partition."""

Limits = Mapping[Place, tuple[int, int]]
"""Of each partition the oldest offset still there, and the one after the last that is stable."""

_PATIENCE = 8.0  # seconds for an answer of the cluster
_ASK = 1.0  # seconds; Ctrl-C is noticed in between
T = TypeVar("T")


def find_partitions(
    client: Consumer | Producer, errors: ConnectionErrors, topics: Iterable[str]
) -> list[Place]:
    """All partitions of the topics.

    Raises `TopicsError` if one is missing, `AccessError` if the cluster refuses us, `KafkaUnavailableError` after 8 s.
    """
    cluster: ClusterMetadata = _ask(errors, client, lambda: client.list_topics(timeout=_ASK))
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


def cluster_id(client: Consumer | Producer, errors: ConnectionErrors) -> str:
    """The name that the cluster gave itself when it was made."""
    cluster: ClusterMetadata = _ask(errors, client, lambda: client.list_topics(timeout=_ASK))
    return str(cluster.cluster_id)


def bounds(consumer: Consumer, errors: ConnectionErrors, places: Iterable[Place]) -> Limits:
    """Where the partitions begin and end; markers of transactions count."""
    call = partial(consumer.get_watermark_offsets, timeout=_ASK, cached=False)
    return {
        place: _ask(errors, consumer, partial(call, TopicPartition(*place))) for place in places
    }


def offsets_since(
    consumer: Consumer, errors: ConnectionErrors, ends: Mapping[Place, int], since: int
) -> Mapping[Place, int]:
    """The first offset with a timestamp of at least `since` epoch milliseconds; the end where there is none."""
    asked = [TopicPartition(*place, max(since, 0)) for place in ends]
    found = _ask(errors, consumer, lambda: consumer.offsets_for_times(asked, timeout=_ASK))
    places = {(answer.topic, answer.partition): answer.offset for answer in found}
    return {
        place: ends[place] if offset == OFFSET_END else offset for place, offset in places.items()
    }


def _ask(errors: ConnectionErrors, client: Consumer | Producer, question: Callable[[], T]) -> T:
    """The answer, asked for again while the cluster starts, topics are new or leaders move."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and not errors.hopeless:
        client.poll(0)  # lets it fetch a token
        try:
            return question()
        except KafkaException as error:
            errors.last = errors.last or error.args[0]
            client.poll(0.05)  # lets it report errors of the connection
    raise errors.unavailable()
