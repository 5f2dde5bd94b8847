"""Consumer groups and offsets of topics as the cluster reports them.

No request of `AdminClient` here goes to a group's coordinator: librdkafka 2.9 crashes or hangs when
such a request fails (librdkafka issue 4605), as after an outage. Members come from `list_groups`,
and committed offsets from consumers.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from struct import calcsize, unpack_from
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.access_errors import kafka_error
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.retrying import retry_until

_REQUEST_SECONDS = 10.0
# A temporary error, as while a coordinator loads, is retried for this time.
_RETRY_SECONDS = 8.0
_RETRY_INTERVAL = 0.1  # seconds
_TEMPORARY = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._NOENT,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
    }
)
# Length of the id that the broker appends to that of a member, with a hyphen.
_UUID_LENGTH = 36
K = TypeVar("K")
T = TypeVar("T")
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

    def call() -> Any:
        admin.poll(0)
        # Without `super` it warns and recommends the requests that crash.
        return super(AdminClient, admin).list_groups(name, timeout=_REQUEST_SECONDS)

    groups = _repeated(f"see group {name}", call)
    return tuple(_member(member) for group in groups for member in group.members)


def request(
    admin: AdminClient, action: str, send: Callable[[], Mapping[K, "Future[V]"]]
) -> dict[K, V]:
    """Return all results of an admin request, which is repeated after temporary errors.

    Args:
        action: completes "Could not …" in an error message.
        send: sends the request.

    Raises:
        AccessError: this user may not do it.
        KafkaUnavailableError: the cluster does not answer.
    """

    def call() -> dict[K, V]:
        admin.poll(0)
        return {key: future.result(timeout=_REQUEST_SECONDS) for key, future in send().items()}

    return _repeated(action, call)


def _repeated(action: str, call: Callable[[], T]) -> T:
    """Return the result of a call, which is repeated after temporary errors."""
    try:
        deadline = time.monotonic() + _RETRY_SECONDS
        return retry_until(deadline, call, KafkaException, _is_temporary, _RETRY_INTERVAL)
    except KafkaException as error:
        raise kafka_error(error.args[0], action) from None
    except TimeoutError:
        raise KafkaUnavailableError(
            f"Could not {action}: no answer", "Check that the brokers are up"
        ) from None


def _is_temporary(error: KafkaException) -> bool:
    reason: KafkaError = error.args[0]
    return bool(reason.retriable()) or reason.code() in _TEMPORARY


def _offsets(
    admin: AdminClient, partition_ids: list[PartitionId], spec: OffsetSpec
) -> dict[PartitionId, int]:
    asked = {TopicPartition(*partition_id): spec for partition_id in partition_ids}
    call = partial(admin.list_offsets, asked, isolation_level=IsolationLevel.READ_COMMITTED)
    answers: dict[Any, Any] = request(admin, "read where the topics end", call)
    return {
        (partition.topic, partition.partition): answer.offset
        for partition, answer in answers.items()
    }


def _member(member: Any) -> GroupMember:
    """Return a member of `list_groups`, which has no field for the static id.

    The broker makes a member's id of the static id, or else of the client id, and a UUID.
    """
    name = member.id[: -_UUID_LENGTH - 1]
    return GroupMember(
        None if name == member.client_id else name or None,
        member.client_id,
        member.client_host.lstrip("/"),
        frozenset(assigned_partitions(member.assignment or b"")),
    )


def assigned_partitions(assignment: bytes) -> Iterator[PartitionId]:
    """Yield the partitions of an assignment in the consumer protocol, any version.

    >>> sorted(assigned_partitions(bytes.fromhex("0001 00000001 0001 74 00000001 00000003")))
    [('t', 3)]
    """
    if not assignment:
        return
    _, topics = unpack_from(">hi", assignment)
    at = calcsize(">hi")
    for _ in range(topics):
        (length,) = unpack_from(">h", assignment, at)
        topic = assignment[at + 2 : at + 2 + length].decode()
        at += 2 + length
        (count,) = unpack_from(">i", assignment, at)
        for partition in unpack_from(f">{count}i", assignment, at + 4):
            yield topic, partition
        at += 4 + 4 * count
