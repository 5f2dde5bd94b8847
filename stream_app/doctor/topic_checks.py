"""Checks of the pipeline's topics: partitions, settings, and keys and values of producers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Message
from confluent_kafka.admin import ConfigResource, ResourceType

from stream_app.core.reading.completeness import is_completeness
from stream_app.core.reading.decoding import Schemas
from stream_app.core.reading.event_time import SUSPICION, UNIT_REMEDY, is_suspect
from stream_app.core.reading.record_reader import Event, LabelEvent, LabelReader
from stream_app.doctor.context import CheckResult, DoctorContext, ok, problem, skipped, warning
from stream_app.error_codes import ERROR_CODES, LABEL_UNKNOWN
from stream_app.errors import AccessError
from stream_app.kafka.partitioner import PARTITIONERS, Partitioner, partitioner_of
from stream_app.kafka.retrying_reader import as_record
from stream_app.kafka.source_topics import DirectTopic, describe_sources
from stream_app.kafka.topics import KEPT_FOR_EVER, TopicSpec, check_topics
from stream_app.offline.log_order import END_OF_TIME
from stream_app.offline.proposed_bounds import propose_bounds
from stream_app.offline.timeline import time_reader
from stream_app.pipeline import Pipeline, ingested_topics, source_topics
from stream_app.records import Failure, Record
from stream_app.schema_registry.schema_cache import open_schema_cache
from stream_app.status.cluster_view import offset_bounds, request
from stream_app.topic_kinds import TopicKind

# Newest records of a topic whose keys are checked.
SAMPLE_SIZE = 500
# Fewer misplaced keys may be where they are by chance.
MIN_MOVED_KEYS = 10


class KeyedRecord(NamedTuple):
    """Key of a record and the partition that it is in."""

    key: bytes | None
    partition: int


class Replication(NamedTuple):
    """Replication of a topic; the counts of replicas are those of its weakest partition.

    Attributes:
        brokers: brokers of the cluster.
        copies: replicas.
        in_sync: in-sync replicas.
        needed: the topic's `min.insync.replicas`.
        leaderless: partitions without a leader.
    """

    brokers: int
    copies: int
    in_sync: int
    needed: int
    leaderless: int


def check_shape(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that every topic exists, and that co-partitioned topics have as many partitions."""
    pipeline, sources = context.pipeline, bool(ingested_topics(context.pipeline))
    partitions = check_topics(context.admin, pipeline.name, context.settings, sources)
    yield ok(f"all {len(context.specs)} topics exist; partitions: {partitions}")
    wanted = context.settings.topics.partitions
    if partitions != wanted:
        yield warning(
            f"the topics have {partitions} partitions, and this machine's settings say {wanted}",
            f"Set STREAM_APP_TOPICS__PARTITIONS={partitions} here; "
            "`up` and `topics create` fail until then",
        )


def check_sources(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that the topics of the sources exist and can be read."""
    sources = source_topics(context.pipeline)
    if not sources:
        yield skipped("the pipeline declares no sources")
        return
    direct = DirectTopic.of(context.pipeline)
    found = describe_sources(context.admin, [*sources, *(direct or ())])
    if found.error is not None:
        raise found.error
    if direct is not None:
        direct.check(found)
    topics = context.metadata.topics
    for name in sources:
        context.view.reader.check_visible(name)
        ((low, end),) = offset_bounds(context.admin, [(name, 0)]).values()
        if low < end:
            # Reading is a right of its own.
            next(iter(context.view.reader.records({(name, 0): (end - 1, end)})), None)
    counts = ", ".join(f"{name} {len(topics[name].partitions)}" for name in sources)
    yield ok(f"the topics of the sources can be read; partitions: {counts}")


def check_topic_settings(context: DoctorContext) -> Iterator[CheckResult]:
    """Check the settings and the replication of each topic."""
    existing = [spec for spec in context.specs if spec.name in context.metadata.topics]
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in existing]
    try:
        answers: Any = request(
            context.admin,
            "read the topics' settings",
            lambda: context.admin.describe_configs(resources),
        )
    except AccessError as error:
        yield skipped(f"the topics' settings: {error.message}")
        return
    configs = {
        resource.name: {name: entry.value for name, entry in answer.items()}
        for resource, answer in answers.items()
    }
    wrong = [result for spec in existing for result in evaluate_topic(spec, configs[spec.name])]
    for spec in existing:
        replication = _replication(context, spec.name, configs[spec.name])
        wrong += evaluate_replication(spec.name, replication)
    yield from wrong or [
        ok("retention, cleanup, sizes, timestamps and replication of the topics are as required")
    ]


def evaluate_topic(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[CheckResult]:
    """Yield a result for each setting of a topic that differs from what it must be."""
    wanted = spec.config
    if config["cleanup.policy"] != wanted["cleanup.policy"]:
        yield problem(
            f"{spec.name} has cleanup.policy={config['cleanup.policy']}: "
            + _policy_loss(wanted["cleanup.policy"]),
            _fix(spec, "cleanup.policy"),
        )
    if int(config["max.message.bytes"]) < int(wanted["max.message.bytes"]):
        yield problem(
            f"{spec.name} has max.message.bytes={config['max.message.bytes']}, "
            "less than workers may write",
            _fix(spec, "max.message.bytes"),
        )
    if config["message.timestamp.type"] != wanted["message.timestamp.type"]:
        yield warning(
            f"{spec.name} has message.timestamp.type={config['message.timestamp.type']}: "
            "ages are counted from the append, not from the record's own timestamp",
            _fix(spec, "message.timestamp.type"),
        )
    if "retention.ms" in wanted:
        yield from _evaluate_retention(spec, config)


def _evaluate_retention(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[CheckResult]:
    actual, wanted = int(config["retention.ms"]), int(spec.config["retention.ms"])
    if spec.kind in KEPT_FOR_EVER:
        yield from _evaluate_permanence(spec, config)
        return
    if actual != wanted:
        yield warning(
            f"{spec.name} has retention.ms={actual}, and this machine's settings say {wanted}",
            f"{_fix(spec, 'retention.ms')}, or correct STREAM_APP_TOPICS__RETENTION_HOURS",
        )
    if int(config.get("retention.bytes") or -1) >= 0:
        yield warning(
            f"{spec.name} has retention.bytes={config['retention.bytes']}: "
            "a burst may delete records before they are read",
            f"Set retention.bytes=-1 on {spec.name}",
        )


def _evaluate_permanence(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[CheckResult]:
    """Yield a problem for each setting that deletes records of a topic that is kept for ever."""
    loss = (
        "model versions cannot be reproduced from deleted examples"
        if spec.kind == "examples"
        else "who decided what is deleted with it"
    )
    for name in ("retention.ms", "retention.bytes"):
        value = int(config.get(name) or -1)
        if value >= 0:
            yield problem(
                f"{spec.name} has {name}={value}: {loss}",
                f"kafka-configs.sh --alter --topic {spec.name} --add-config {name}=-1",
            )


def _policy_loss(required_policy: str) -> str:
    if required_policy == "compact":
        return "state that workers need is deleted when it is old"
    return "records with the same key are deleted, read or not"


def _fix(spec: TopicSpec, name: str) -> str:
    return f"kafka-configs.sh --alter --topic {spec.name} --add-config {name}={spec.config[name]}"


def _replication(context: DoctorContext, name: str, config: Mapping[str, str]) -> Replication:
    partitions = context.metadata.topics[name].partitions.values()
    return Replication(
        brokers=len(context.metadata.brokers),
        copies=min(len(partition.replicas) for partition in partitions),
        in_sync=min(len(partition.isrs) for partition in partitions),
        needed=int(config.get("min.insync.replicas") or 1),
        leaderless=sum(partition.leader < 0 for partition in partitions),
    )


def evaluate_replication(name: str, replication: Replication) -> Iterator[CheckResult]:
    """Yield a result for each way in which a topic does not survive the loss of a broker."""
    brokers, copies, in_sync, needed, leaderless = replication
    if leaderless:
        yield problem(
            f"{name} has {leaderless} partitions without a leader",
            "Restart the brokers that hold their replicas",
        )
    if needed > copies:
        yield problem(
            f"{name} has min.insync.replicas={needed} and {copies} copies: "
            "nothing can be written to it",
            f"Set min.insync.replicas={max(1, copies - 1)} on it, or add copies",
        )
    elif in_sync < needed:
        yield problem(
            f"{name} has {in_sync} copies in sync and needs {needed}",
            "Restart the missing brokers",
        )
    elif in_sync < copies:
        yield warning(
            f"{name} has {in_sync} of {copies} copies in sync",
            "Check the other brokers",
        )
    if brokers < 2:
        return
    if copies == 1:
        yield warning(
            f"{name} has one copy: the loss of a broker loses records", "Reassign it with 3 copies"
        )
    elif copies == needed:
        yield warning(
            f"{name} cannot be written while a broker is down: all {copies} copies are needed",
            "Lower min.insync.replicas",
        )
    elif needed == 1:
        yield warning(
            f"{name} has min.insync.replicas=1: acknowledged records may be lost with a broker",
            "Set min.insync.replicas=2 on it",
        )


def check_partitioner(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that the newest events and labels are where the partitioner f puts their keys.

    A label can only meet its event if both are in the partition of the same number.
    """
    kinds: tuple[TopicKind, ...] = ("raw", "labels")
    for kind in kinds:
        bounds = context.view.select(context.offset_bounds, kind)
        if not bounds:
            continue
        sample = [
            KeyedRecord(message.key(), message.partition() or 0)
            for message in newest_records(context, kind)
            if not is_completeness(as_record(message))
        ]
        topic, partitioner = context.view.topic(kind), partitioner_of(context.pipeline)
        yield from evaluate_keys(topic, sample, len(bounds), partitioner)


def newest_records(context: DoctorContext, kind: TopicKind) -> Iterator[Message]:
    """Return the newest records of all partitions of a topic, 500 at most."""
    bounds = context.view.select(context.offset_bounds, kind)
    each = max(1, SAMPLE_SIZE // max(1, len(bounds)))
    return context.view.reader.records(
        {partition_id: (max(low, end - each), end) for partition_id, (low, end) in bounds.items()}
    )


def evaluate_keys(
    topic: str,
    sample: Sequence[KeyedRecord],
    partitions: int,
    partitioner: Partitioner = PARTITIONERS["murmur2"],
) -> Iterator[CheckResult]:
    """Yield results for records without a key and for keys in the wrong partition."""
    keyed = [(record.key, record.partition) for record in sample if record.key is not None]
    if not sample:
        yield skipped(f"{topic} has no record to check the partitioner of its producers with")
        return
    if len(keyed) < len(sample):
        yield problem(
            f"{len(sample) - len(keyed)} of the {len(sample)} newest records of {topic} "
            "have no key",
            "Let producers send the text of the key field as key; "
            "these records are dead letters `missing-key`",
        )
    name = partitioner.name
    wrong = [
        (key, partition)
        for key, partition in keyed
        if partitioner.place(key, partitions) != partition
    ]
    former = wrong and _former_count(wrong, partitions, partitioner)
    if former:
        yield problem(
            f"{len(wrong)} of the {len(sample)} newest records of {topic} are where {name} "
            f"put their keys when it had {former} partitions: partitions were added, "
            "so keys have moved away from their state",
            f"Start the pipeline under a new name with STREAM_APP_TOPICS__PARTITIONS={partitions}",
        )
    elif wrong:
        explanation = next(
            (
                f"they are where {one.name} puts them, the default of {one.clients}"
                for one in PARTITIONERS.values()
                if all(one.place(key, partitions) == partition for key, partition in wrong)
            ),
            "no other known partitioner explains it either",
        )
        yield problem(
            f"{len(wrong)} of the {len(sample)} newest records of {topic} are not in the "
            f"partition that {name} chooses, the partitioner of {partitioner.clients}: "
            f"{explanation}",
            f"Set partitioner={partitioner.producer_option} in producers that use librdkafka",
        )
    elif keyed and partitions > 1:
        yield ok(f"{topic}: the {len(keyed)} newest keys are where {name} puts them")
    elif keyed:
        yield ok(f"{topic}: has one partition, so every partitioner puts keys there")


def _former_count(
    wrong: Sequence[tuple[bytes, int]], partitions: int, partitioner: Partitioner
) -> int | None:
    """Return the smaller number of partitions that explains where several keys are, or None."""
    if len({key for key, _ in wrong}) < MIN_MOVED_KEYS:
        return None
    # One partition would also explain a producer that sends everything to partition 0.
    counts = range(partitions - 1, 1, -1)
    return next(
        (
            count
            for count in counts
            if all(partitioner.place(key, count) == partition for key, partition in wrong)
        ),
        None,
    )


def check_values(context: DoctorContext) -> Iterator[CheckResult]:
    """Check the newest events and labels; numbers without declared bounds get a proposal."""
    schemas = open_schema_cache(context.settings.registry)
    events = [as_record(message) for message in newest_records(context, "raw")]
    labels = [as_record(message) for message in newest_records(context, "labels")]
    yield from evaluate_times(context.pipeline, events, labels, schemas)
    yield from evaluate_labels(context.pipeline, labels, schemas)
    yield from evaluate_numbers(context.pipeline, events, schemas)


def evaluate_times(
    pipeline: Pipeline, events: Sequence[Record], labels: Sequence[Record], schemas: Schemas
) -> Iterator[CheckResult]:
    """Yield a warning for events and for labels whose times seem to have a wrong unit."""
    event_reader, label_reader = time_reader(pipeline), LabelReader(pipeline)
    read_events = [event_reader.read(record, END_OF_TIME, schemas) for record in events]
    read_labels = [label_reader.read(record, END_OF_TIME, schemas) for record in labels]
    times = {
        "events": [one.event_time for one in read_events if isinstance(one, Event)],
        "labels": [one.label_time for one in read_labels if isinstance(one, LabelEvent)],
    }
    rejected = {"events": _invalid_times(read_events), "labels": _invalid_times(read_labels)}
    for kind, messages in rejected.items():
        for message, count in messages.most_common():
            yield warning(f"{count} of the newest {kind} are rejected: {message}", UNIT_REMEDY)
    for kind, found in times.items():
        suspect = sum(map(is_suspect, found))
        if suspect:
            yield warning(
                f"the time of {suspect} of the {len(found)} newest {kind} {SUSPICION}", UNIT_REMEDY
            )
        elif found:
            yield ok(f"the times of the {len(found)} newest {kind} seem to have the right unit")


def _invalid_times(found: Iterable[object]) -> Counter[str]:
    """Return the messages of records whose time cannot be read, with their numbers."""
    return Counter(
        one.message
        for one in found
        if isinstance(one, Failure) and one.code == "event-time-invalid"
    )


def evaluate_labels(
    pipeline: Pipeline, labels: Sequence[Record], schemas: Schemas
) -> Iterator[CheckResult]:
    """Yield a warning for labels whose value means neither true nor false."""
    reader = LabelReader(pipeline)
    found = [reader.read(record, END_OF_TIME, schemas) for record in labels]
    unknown = [one for one in found if isinstance(one, Failure) and one.code == LABEL_UNKNOWN]
    if unknown:
        yield warning(
            f"{len(unknown)} of the {len(labels)} newest labels are rejected: {unknown[0].message}",
            ERROR_CODES[LABEL_UNKNOWN].remedy,
        )


def evaluate_numbers(
    pipeline: Pipeline, events: Sequence[Record], schemas: Schemas
) -> Iterator[CheckResult]:
    """Yield the proposed bounds of numbers that declare none."""
    if not events:
        yield skipped("there is no event to propose bounds of numbers from")
    for one in propose_bounds(pipeline, events, schemas):
        yield ok(
            f"no bounds are declared for {one.field}; proposal for `clean`: {one.line}, "
            f"from {one.reason}"
        )
