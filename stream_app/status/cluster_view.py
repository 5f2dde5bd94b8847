"""What the cluster itself knows of a pipeline: where its topics begin and end, and where its groups stand."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.access_errors import failure
from stream_app.kafka.offsets import Limits, Place

_TIMEOUT = 10.0  # seconds for one request
_PATIENCE = 8.0  # seconds that a passing error, as while a coordinator loads, may last
_PAUSE = 0.1
K = TypeVar("K")
V = TypeVar("V")


class GroupMember(NamedTuple):
    """A member of a group; `instance` is its static id, None if it is a dynamic one."""

    instance: str | None
    client: str
    host: str
    partitions: frozenset[Place]


class ConsumerGroup(NamedTuple):
    """A consumer group; one that does not exist has no members and no offsets."""

    name: str
    members: tuple[GroupMember, ...]
    offsets: Mapping[Place, int]

    def owner(self, place: Place) -> GroupMember | None:
        """The member that a partition is assigned to."""
        return next((member for member in self.members if place in member.partitions), None)


def topic_limits(admin: AdminClient, places: Iterable[Place]) -> Limits:
    """Of each partition the oldest offset still there, and the one after the last that is stable."""
    wanted = list(places)
    ends = _offsets(admin, wanted, OffsetSpec.latest())
    lows = _offsets(admin, wanted, OffsetSpec.earliest())
    return {place: (lows[place], max(ends[place], lows[place])) for place in wanted}


def groups(admin: AdminClient, names: Iterable[str]) -> dict[str, ConsumerGroup]:
    """The groups as they are now."""
    wanted = list(names)
    found = {name: _members(admin, name) for name in wanted}
    return {name: ConsumerGroup(name, found[name], _committed(admin, name)) for name in wanted}


def ask(
    admin: AdminClient, what: str, question: Callable[[], Mapping[K, "Future[V]"]]
) -> dict[K, V]:
    """All answers, asked for again while the cluster starts or leaders move.

    Raises `AccessError` if we may not do `what`, `KafkaUnavailableError` if there is no answer.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        admin.poll(0)
        try:
            return {key: future.result(timeout=_TIMEOUT) for key, future in question().items()}
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if time.monotonic() > deadline or not (reason.retriable() or reason.code() in _PASSING):
                raise failure(reason, what) from None
        except TimeoutError:
            raise KafkaUnavailableError(
                f"Could not {what}: no answer", "Check that the brokers are up"
            ) from None
        time.sleep(_PAUSE)


_PASSING = frozenset(
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


def _offsets(admin: AdminClient, places: list[Place], which: OffsetSpec) -> dict[Place, int]:
    asked = {TopicPartition(*place): which for place in places}
    call = partial(admin.list_offsets, asked, isolation_level=IsolationLevel.READ_COMMITTED)
    answers: dict[Any, Any] = ask(admin, "read where the topics end", call)
    return {
        (partition.topic, partition.partition): answer.offset
        for partition, answer in answers.items()
    }


def _members(admin: AdminClient, name: str) -> tuple[GroupMember, ...]:
    answer: Any = ask(admin, f"see group {name}", partial(admin.describe_consumer_groups, [name]))[
        name
    ]
    return tuple(
        GroupMember(
            member.group_instance_id or None,
            member.client_id,
            member.host.lstrip("/"),
            frozenset((tp.topic, tp.partition) for tp in member.assignment.topic_partitions),
        )
        for member in answer.members
    )


def _committed(admin: AdminClient, name: str) -> dict[Place, int]:
    call = partial(admin.list_consumer_group_offsets, [ConsumerGroupTopicPartitions(name)])
    answer: Any = ask(admin, f"read the offsets of group {name}", call)[name]
    return {(tp.topic, tp.partition): tp.offset for tp in answer.topic_partitions if tp.offset >= 0}
