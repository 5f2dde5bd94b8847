"""Consumer groups and offsets of topics as the cluster reports them.

Committed offsets come from consumers (`PartitionReader.committed`): librdkafka crashes if an admin
client asks for them and the coordinator has just moved, as after an outage.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    IsolationLevel,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.access_errors import kafka_error
from stream_app.kafka.clients import leaders_reloaded_on_error
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.transient_errors import raised_transient
from stream_app.retrying import retry_until

_REQUEST_SECONDS = 10.0
# A request ends by its own timeout: librdkafka may abort the process if a client is closed in the
# midst of one that waits for a coordinator.
_ANSWER_SECONDS = _REQUEST_SECONDS + 3.0
# A temporary error, as while a coordinator loads, is retried for this time.
_RETRY_SECONDS = 8.0
_RETRY_INTERVAL = 0.1  # seconds
K = TypeVar("K")
V = TypeVar("V")


class GroupMember(NamedTuple):
    """Member of a consumer group; `instance` is its static id, None for a dynamic member."""

    instance: str | None
    client: str
    host: str
    partitions: frozenset[PartitionId]


class ConsumerGroup(NamedTuple):
    """Consumer group; one that does not exist has no members and no committed offsets."""

    name: str
    members: tuple[GroupMember, ...]
    offsets: Mapping[PartitionId, int]

    def owner(self, partition_id: PartitionId) -> GroupMember | None:
        """Return the member to which a partition is assigned."""
        return next((member for member in self.members if partition_id in member.partitions), None)


def offset_bounds(admin: AdminClient, partition_ids: Iterable[PartitionId]) -> OffsetBounds:
    """Return the beginning offset and the last stable offset of each partition."""
    wanted = list(partition_ids)
    ends = _offsets(admin, wanted, OffsetSpec.latest())
    lows = _offsets(admin, wanted, OffsetSpec.earliest())
    return {
        partition_id: (lows[partition_id], max(ends[partition_id], lows[partition_id]))
        for partition_id in wanted
    }


def group_members(admin: AdminClient, name: str) -> tuple[GroupMember, ...]:
    """Return the members of a consumer group, none if there is no such group.

    Raises as `request`.
    """
    call = partial(admin.describe_consumer_groups, [name], request_timeout=_REQUEST_SECONDS)
    answer: Any = request(admin, f"see group {name}", call)[name]
    return tuple(
        GroupMember(
            member.group_instance_id or None,
            member.client_id,
            member.host.lstrip("/"),
            frozenset((tp.topic, tp.partition) for tp in member.assignment.topic_partitions),
        )
        for member in answer.members
    )


def request(
    admin: AdminClient,
    action: str,
    send: Callable[[], Mapping[K, "Future[V]"]],
    topics: Iterable[str] = (),
) -> dict[K, V]:
    """Return all results of an admin request, which is repeated after temporary errors.

    Args:
        action: completes "Could not …" in an error message.
        send: sends the request.
        topics: topics whose leaders answer the request.

    Raises:
        AccessError: this user may not do it.
        KafkaUnavailableError: the cluster does not answer.
    """

    def call() -> dict[K, V]:
        admin.poll(0)
        with leaders_reloaded_on_error(admin, topics):
            return {key: future.result(timeout=_ANSWER_SECONDS) for key, future in send().items()}

    try:
        deadline = time.monotonic() + _RETRY_SECONDS
        return retry_until(deadline, call, KafkaException, raised_transient, _RETRY_INTERVAL)
    except KafkaException as error:
        raise kafka_error(error.args[0], action) from None
    except TimeoutError:
        raise KafkaUnavailableError(
            f"Could not {action}: no answer", "Check that the brokers are up"
        ) from None


def _offsets(
    admin: AdminClient, partition_ids: list[PartitionId], spec: OffsetSpec
) -> dict[PartitionId, int]:
    asked = {TopicPartition(*partition_id): spec for partition_id in partition_ids}
    call = partial(
        admin.list_offsets,
        asked,
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=_REQUEST_SECONDS,
    )
    topics = [topic for topic, _ in partition_ids]
    answers: dict[Any, Any] = request(admin, "read where the topics end", call, topics)
    return {
        (partition.topic, partition.partition): answer.offset
        for partition, answer in answers.items()
    }
