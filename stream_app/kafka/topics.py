"""Topics of a pipeline: required settings, creation, checks."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from stream_app.errors import TopicsError
from stream_app.kafka.access_errors import kafka_error, missing_right
from stream_app.kafka.clients import check_visible, cluster_topics
from stream_app.kafka.transient_errors import is_transient
from stream_app.records import ENVELOPE_BYTES
from stream_app.retrying import wait_until
from stream_app.settings import Settings
from stream_app.topic_kinds import KINDS, PARTITIONED, SOURCE_KINDS, TopicKind, topic_name

KEPT_FOR_EVER: tuple[TopicKind, ...] = ("examples", "audit")
"""Kinds that are never compacted and whose records are never deleted because of age or size."""

# Kinds whose records may be larger than raw ones, besides those with such an end of their name.
_LARGER: tuple[TopicKind, ...] = ("examples", "replays", "label_outcomes")
_HOUR_MS = 3_600_000
_TIMEOUT = 30.0  # seconds
_POLL_SECONDS = 0.05
_SHOWN_CONFIG = (
    "cleanup.policy",
    "retention.ms",
    "max.message.bytes",
    "message.timestamp.type",
)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """Required state of a topic.

    Attributes:
        name: full name on the cluster.
        config: topic options of the broker.
    """

    kind: TopicKind
    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """Actual state of a topic; `partitions` is 0 if it is missing."""

    kind: TopicKind
    name: str
    partitions: int
    config: Mapping[str, str]

    @property
    def exists(self) -> bool:
        return self.partitions > 0


@dataclass(frozen=True, slots=True)
class TopicResult:
    """Result of `create_topics` for one topic."""

    name: str
    partitions: int
    result: Literal["created", "exists"]


class MissingTopicsError(TopicsError):
    """Topics of these kinds are missing."""

    def __init__(self, pipeline: str, kinds: Sequence[TopicKind]) -> None:
        names = ", ".join(topic_name(pipeline, kind) for kind in kinds)
        super().__init__(
            f"Missing topics of pipeline {pipeline}: {names}",
            "Run `stream-app topics create PIPELINE`",
        )
        self.kinds = kinds


class AddedPartitionsError(TopicsError):
    """Topics have more partitions than the state, so that keys have left their state."""

    def __init__(self, pipeline: str, counts: Mapping[TopicKind, int]) -> None:
        original = counts["score.state"]
        added = ", ".join(
            f"{topic_name(pipeline, kind)} (now {count})"
            for kind, count in counts.items()
            if count > original
        )
        super().__init__(
            f"Partitions were added to {added}: keys have moved, "
            f"and their state has stayed in the {original} partitions that {pipeline} was made for",
            "Start the pipeline under a new name with "
            f"STREAM_APP_TOPICS__PARTITIONS={max(counts.values())}",
        )


def topic_specs(
    pipeline: str, settings: Settings, with_sources: bool = False
) -> tuple[TopicSpec, ...]:
    """Return the required topics of a pipeline, in the order of `KINDS`.

    Args:
        with_sources: True for a pipeline with sources, which has more topics.
    """
    return tuple(
        TopicSpec(
            kind=kind,
            name=topic_name(pipeline, kind),
            partitions=settings.topics.partitions if kind in PARTITIONED else 1,
            config=_topic_config(kind, settings),
        )
        for kind in KINDS
        if with_sources or kind not in SOURCE_KINDS
    )


def _topic_config(kind: TopicKind, settings: Settings) -> dict[str, str]:
    """Return topic options.

    Timestamps are wall-clock times: with event times, retention would delete replayed history.
    """
    is_larger = kind in _LARGER or kind.endswith((".dlq", ".replay", ".state"))
    max_bytes = settings.topics.max_message_bytes + (ENVELOPE_BYTES if is_larger else 0)
    config = {"message.timestamp.type": "CreateTime", "max.message.bytes": str(max_bytes)}
    if kind in ("models", "replays", "alarms") or kind.endswith(".state"):
        # The newest segment is never compacted, and each partition of a source reads all of it.
        segment = 4 << 20 if kind in SOURCE_KINDS else 64 << 20
        return config | {
            "cleanup.policy": "compact",
            "min.cleanable.dirty.ratio": "0.2",
            "segment.bytes": str(segment),
        }
    return config | {"cleanup.policy": "delete", "retention.ms": str(_retention_ms(kind, settings))}


def _retention_ms(kind: TopicKind, settings: Settings) -> int:
    """Return the retention in milliseconds, -1 without limit.

    Examples are kept: they are the log from which every model version can be reproduced. So is the
    audit: only a reset deletes it.
    """
    hours = settings.topics.retention_hours
    return -1 if kind in KEPT_FOR_EVER or hours < 0 else hours * _HOUR_MS


def create_topics(
    admin: AdminClient, pipeline: str, settings: Settings, with_sources: bool = False
) -> list[TopicResult]:
    """Create the missing topics of a pipeline; for `with_sources` see `topic_specs`.

    Raises:
        AddedPartitionsError: topics have more partitions than the state.
        TopicsError: an existing topic has another partition count than the settings; then nothing
            is created.
        AccessError: this user may not create topics.
        KafkaUnavailableError: the cluster does not answer.
    """
    specs = topic_specs(pipeline, settings, with_sources)
    existing = _partition_counts(admin)
    check_added_partitions(pipeline, existing)
    for spec in specs:
        _require_partitions(spec, existing.get(spec.name, spec.partitions))
    missing = [spec for spec in specs if spec.name not in existing]
    _create(admin, missing, settings.topics.replication)
    created = {spec.name for spec in missing}
    return [
        TopicResult(s.name, s.partitions, "created" if s.name in created else "exists")
        for s in specs
    ]


def _require_partitions(spec: TopicSpec, actual: int) -> None:
    if actual == spec.partitions:
        return
    raise TopicsError(
        f"Topic {spec.name} has {actual} partitions and the settings ask for {spec.partitions}: "
        "keys would move to other partitions and their state would not follow",
        f"Set STREAM_APP_TOPICS__PARTITIONS={actual}, or start a pipeline under a new name",
    )


def _create(admin: AdminClient, specs: Sequence[TopicSpec], replication: int) -> None:
    if not specs:
        return
    new = [
        NewTopic(
            spec.name,
            num_partitions=spec.partitions,
            replication_factor=replication,
            config=dict(spec.config),
        )
        for spec in specs
    ]
    created = admin.create_topics(new, operation_timeout=_TIMEOUT, request_timeout=_TIMEOUT)
    for name, future in created.items():
        try:
            future.result(timeout=_TIMEOUT)
        except KafkaException as error:
            _raise_unless_exists(name, error.args[0])
    _await_metadata(admin, {spec.name for spec in specs})


def _raise_unless_exists(name: str, error: KafkaError) -> None:
    """Raise the error of a topic that was not created, unless another process has created it."""
    if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
        return
    if is_transient(error) or missing_right(error, ""):
        raise kafka_error(error, f"create {name}")
    raise TopicsError(
        f"Topic {name} cannot be created: {error.str()}", "Check the broker and the topic settings"
    )


def _await_metadata(admin: AdminClient, names: set[str]) -> None:
    """Wait until every broker knows new topics; workers must not start before."""
    deadline = time.monotonic() + _TIMEOUT
    if not wait_until(deadline, lambda: names <= _partition_counts(admin).keys(), _POLL_SECONDS):
        raise TopicsError(
            f"Topic {min(names)} was created and does not appear", "Check the broker's log"
        )


def _partition_counts(admin: AdminClient) -> dict[str, int]:
    topics = cluster_topics(admin).topics
    return {
        name: len(topic.partitions)
        for name, topic in topics.items()
        if topic.error is None and topic.partitions
    }


def check_added_partitions(pipeline: str, existing: Mapping[str, int]) -> None:
    """Raise `AddedPartitionsError` if a topic has more partitions than the pipeline's state.

    Args:
        existing: partition counts by topic.
    """
    names: dict[TopicKind, str] = {kind: topic_name(pipeline, kind) for kind in PARTITIONED}
    counts = {kind: existing[name] for kind, name in names.items() if name in existing}
    original = counts.get("score.state")
    if original is not None and min(counts.values()) == original < max(counts.values()):
        raise AddedPartitionsError(pipeline, counts)


def check_topics(
    admin: AdminClient, pipeline: str, settings: Settings, with_sources: bool = False
) -> int:
    """Return the partition count of a pipeline; for `with_sources` see `topic_specs`.

    Raises:
        MissingTopicsError: topics are missing.
        AddedPartitionsError: topics have more partitions than the state.
        TopicsError: partition counts differ.
        AccessError: topics are hidden from this user.
    """
    existing = _partition_counts(admin)
    specs = topic_specs(pipeline, settings, with_sources)
    missing = [spec.kind for spec in specs if spec.name not in existing]
    if missing:
        check_visible(admin, [topic_name(pipeline, kind) for kind in missing])
        raise MissingTopicsError(pipeline, missing)
    check_added_partitions(pipeline, existing)
    counts = {spec.name: existing[spec.name] for spec in specs if spec.kind in PARTITIONED}
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise TopicsError(
            f"Partition counts differ, so keys and state would not meet: {listing}",
            "Delete the wrong topics and run `stream-app topics create PIPELINE`",
        )
    _require_single_partitions(existing, specs)
    return counts[topic_name(pipeline, "raw")]


def _require_single_partitions(existing: Mapping[str, int], specs: Sequence[TopicSpec]) -> None:
    for spec in specs:
        if spec.kind not in PARTITIONED and existing[spec.name] != 1:
            raise TopicsError(
                f"Topic {spec.name} has {existing[spec.name]} partitions "
                "and needs exactly 1, to have one order",
                "Delete it and run `stream-app topics create PIPELINE`",
            )


def describe_topics(
    admin: AdminClient, pipeline: str, settings: Settings, with_sources: bool = False
) -> list[TopicStatus]:
    """Return the actual state of every topic of a pipeline, missing ones included.

    For `with_sources` see `topic_specs`.
    """
    existing = _partition_counts(admin)
    specs = topic_specs(pipeline, settings, with_sources)
    check_visible(admin, [spec.name for spec in specs if spec.name not in existing])
    configs = _configs(admin, [spec.name for spec in specs if spec.name in existing])
    return [
        TopicStatus(s.kind, s.name, existing.get(s.name, 0), configs.get(s.name, {})) for s in specs
    ]


def _configs(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = admin.describe_configs(resources, request_timeout=_TIMEOUT)
    try:
        configs = {resource.name: future.result() for resource, future in answers.items()}
    except KafkaException as error:
        raise kafka_error(error.args[0], "read the topics' settings") from None
    return {
        name: {key: str(config[key].value) for key in _SHOWN_CONFIG}
        for name, config in configs.items()
    }
