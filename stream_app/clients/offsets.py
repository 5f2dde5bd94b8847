"""Where topics begin and end: partitions and offsets, for clients that belong to no group."""

import time
from collections.abc import Iterable, Mapping

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_app.clients.kafka import cluster_topics
from stream_app.errors import KafkaUnavailableError, TopicsError

Place = tuple[str, int]
"""A topic and a partition."""

NONE = -1
"""The offset at a time that is later than every record."""

_TIMEOUT = 10.0  # seconds


def find_partitions(admin: AdminClient, topics: Iterable[str]) -> list[Place]:
    """All partitions of the topics; `TopicsError` if one is missing."""
    known = cluster_topics(admin).topics
    counts = {name: len(known[name].partitions) if name in known else 0 for name in topics}
    missing = [name for name, count in counts.items() if not count]
    if missing:
        raise TopicsError(
            f"Topic {', '.join(missing)} does not exist", "Run `stream-app topics create PIPELINE`, or correct PIPELINE"
        )
    return [(name, partition) for name, count in counts.items() for partition in range(count)]


def first_offsets(admin: AdminClient, places: Iterable[Place]) -> Mapping[Place, int]:
    """The oldest offset that is still there."""
    return _offsets(admin, places, OffsetSpec.earliest())


def stable_ends(admin: AdminClient, places: Iterable[Place]) -> Mapping[Place, int]:
    """The offset after the last that a reader of committed records gets; markers of transactions count."""
    return _offsets(admin, places, OffsetSpec.latest())


def offsets_since(admin: AdminClient, places: Iterable[Place], since: int) -> Mapping[Place, int]:
    """The first offset with a timestamp of at least `since` epoch milliseconds, `NONE` where there is none."""
    return _offsets(admin, places, OffsetSpec.for_timestamp(max(since, 0)))


def _offsets(admin: AdminClient, places: Iterable[Place], spec: OffsetSpec) -> dict[Place, int]:
    """Asked again for a while, because leaders move and topics are new."""
    asked = {TopicPartition(*place): spec for place in places}
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            answers = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT)
            return {(tp.topic, tp.partition): int(answer.result(_TIMEOUT).offset) for tp, answer in answers.items()}
        except KafkaException as error:
            if time.monotonic() > deadline:
                reason = error.args[0].str()
                raise KafkaUnavailableError(f"The topic's offsets are unknown: {reason}", "Check the broker") from None
            time.sleep(0.1)
