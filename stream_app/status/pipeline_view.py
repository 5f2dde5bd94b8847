"""View of a pipeline from outside its workers: topics, consumer groups, record counts, registry."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from stream_app.core.alarms.alarm_log import AlarmLog
from stream_app.headers import ERROR_CODE
from stream_app.kafka.clients import (
    ClientOwner,
    bootstrap_servers,
    cluster_topics,
    make_admin,
)
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.partition_reader import (
    SILENCE_SECONDS,
    PartitionReader,
    headers_of,
    partition_of,
)
from stream_app.kafka.topic_uses import ROLE_INPUTS, SOURCE_ROLES, group_name
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.schema_registry import open_registry
from stream_app.settings import Settings
from stream_app.status.cluster_view import ConsumerGroup, group_members, offset_bounds
from stream_app.status.measurements import Measurements, read_measurements
from stream_app.status.record_counts_reading import PartitionCounts, read_record_counts
from stream_app.status.status_model import RecentDeadLetters
from stream_app.status.window_status import Watermarks, read_watermarks
from stream_app.topic_kinds import KINDS, DeadLetterKind, TopicKind, topic_name
from stream_app.transfer.record_rendering import ValueDecoder

OpenCheck = Callable[[DeadLetterKind, int, int], bool]
"""Returns True if the dead letter of a kind, partition and offset is open."""

ReadOpenCheck = Callable[[PartitionReader, OffsetBounds], OpenCheck]
"""Reads the ledger of operations on dead letters within the bounds of its topic."""

RECENT_MINUTES = 10
# Newest offsets of a partition that are searched for recent dead letters.
MAX_DEAD_LETTERS = 1000


class PipelineView:
    """Reads topics and consumer groups of a pipeline; for one thread at a time.

    Every method reads afresh.

    Args:
        settings: address and security of the cluster.
        name: name of the pipeline.
        admin: client to use, None to create one.

    Raises:
        KafkaUnavailableError: the cluster does not answer, also raised by every method.
    """

    def __init__(self, settings: Settings, name: str, admin: AdminClient | None = None) -> None:
        self.name = name
        self.settings = settings
        self.servers = bootstrap_servers(settings)
        self.admin = admin or make_admin(settings)
        self._is_admin_shared = admin is not None
        self.reader = PartitionReader.open(
            settings,
            silence=SILENCE_SECONDS,
            max_partition_fetch_bytes=256 * 1024,
            queued_max_messages_kbytes=1024,
        )
        self._group_readers: dict[str, PartitionReader] = {}
        self._known: set[str] = set()
        self._decoder = ValueDecoder(
            open_registry(settings.registry) if settings.registry.url else None
        )
        self._registry = RegistryReader(self.reader)

    def topic(self, kind: TopicKind) -> str:
        """Return the full name of one of the pipeline's topics."""
        return topic_name(self.name, kind)

    def offset_bounds(self) -> OffsetBounds:
        """Return beginning and end offset of every partition of the pipeline's topics."""
        topics = cluster_topics(self.admin).topics
        names = [self.topic(kind) for kind in KINDS if self.topic(kind) in topics]
        self._load_metadata(names)
        return offset_bounds(
            self.admin, [(name, number) for name in names for number in topics[name].partitions]
        )

    def _load_metadata(self, names: Iterable[str]) -> None:
        """Load metadata of new topics, for which the consumer itself would take a second each."""
        for name in names:
            if name not in self._known:
                self.reader.check_visible(name)
                self._known.add(name)

    def select(self, bounds: OffsetBounds, *kinds: TopicKind) -> dict[PartitionId, tuple[int, int]]:
        """Return the bounds of some kinds of topics."""
        names = {self.topic(kind) for kind in kinds}
        return {
            partition_id: bound
            for partition_id, bound in bounds.items()
            if partition_id[0] in names
        }

    def groups(self) -> dict[str, ConsumerGroup]:
        """Return the consumer group of each role; `ingest` is left out without sources."""
        topics = cluster_topics(self.admin).topics
        found = {}
        for role, kinds in ROLE_INPUTS.items():
            # Without sources, no right to see the group of `ingest` is needed.
            if role in SOURCE_ROLES and self.topic("ingest.state") not in topics:
                continue
            name = group_name(self.name, role)
            names, members = list(map(self.topic, kinds)), group_members(self.admin, name)
            if role in SOURCE_ROLES:
                # While it runs, only its present sources: others may have been removed.
                present = {topic for member in members for topic, _ in member.partitions}
                names = sorted(present) or self._ingested_topics()
            inputs = [
                (topic, partition)
                for topic in names
                if topic in topics
                for partition in topics[topic].partitions
            ]
            found[role] = ConsumerGroup(name, members, self._group_reader(name).committed(inputs))
        return found

    def _ingested_topics(self) -> list[str]:
        """Return the topics of sources that were read, as the state of `ingest` says."""
        bounds = offset_bounds(self.admin, [(self.topic("ingest.state"), 0)])
        keys = {message.key() or b"" for message in self.reader.records(bounds)}
        return sorted({key.decode().rpartition("/")[0] for key in keys})

    def with_direct(
        self, bounds: OffsetBounds, counts: Mapping[int, PartitionCounts]
    ) -> OffsetBounds:
        """Return bounds with those of a topic of another program that scorers read directly.

        Args:
            bounds: bounds of the pipeline's own topics.
            counts: record counts by partition, which have the positions of all inputs.
        """
        read = [(topic, number) for number, one in counts.items() for topic in one.positions]
        foreign = [one for one in read if one not in bounds]
        if not foreign:
            return bounds
        topics = cluster_topics(self.admin).topics
        existing = [one for one in foreign if one[0] in topics]
        return {**bounds, **offset_bounds(self.admin, existing)}

    def direct_topics(self, bounds: OffsetBounds) -> set[str]:
        """Return the topics of other programs among those of `with_direct`."""
        return {topic for topic, _ in bounds} - set(map(self.topic, KINDS))

    def input_bounds(self, role: str, group: ConsumerGroup, bounds: OffsetBounds) -> OffsetBounds:
        """Return the bounds of what a role reads.

        Args:
            group: consumer group of the role.
            bounds: bounds of the pipeline's own topics, and of `with_direct`.
        """
        own = self.select(bounds, *ROLE_INPUTS[role])
        if role in SOURCE_ROLES:
            return {**offset_bounds(self.admin, list(group.offsets)), **own}
        direct = self.direct_topics(bounds) if role == "score" else set()
        return own | {one: bound for one, bound in bounds.items() if one[0] in direct}

    def _group_reader(self, name: str) -> PartitionReader:
        """Return the reader that asks for the committed offsets of a group; it reads no record."""
        if name not in self._group_readers:
            self._group_readers[name] = PartitionReader.open(self.settings, name)
        return self._group_readers[name]

    def record_counts(self, bounds: OffsetBounds) -> dict[int, PartitionCounts]:
        """Return the record counts of each partition that has some."""
        return read_record_counts(self.reader, self.select(bounds, "score.state"))

    def registry(self, bounds: OffsetBounds) -> ModelRegistry:
        """Return the model registry, which is empty before its topic exists."""
        found = self.select(bounds, "models")
        if not found:
            return ModelRegistry()
        return self._registry.read(
            *next((partition_id, *bound) for partition_id, bound in found.items())
        )

    def served_manifest(self, bounds: OffsetBounds) -> Manifest | None:
        """Return the manifest of the served version, None before there is one.

        Raises:
            ModelError: the manifest cannot be read.
        """
        return served_manifest(self.registry(bounds))

    def measurements(self, bounds: OffsetBounds) -> Measurements:
        """Return the newest measurements.

        Raises:
            RegistryError: they are Avro, and the schema registry does not answer.
        """
        return read_measurements(self.reader, self.select(bounds, "monitoring"), self._decoder)

    def alarm_log(self, bounds: OffsetBounds) -> AlarmLog:
        """Return the alarms of the monitor, acknowledgements and silences."""
        records = self.reader.records(self.select(bounds, "alarms"))
        return AlarmLog.of((message.key(), message.value()) for message in records)

    def watermarks(self, bounds: OffsetBounds) -> Watermarks:
        """Return the newest watermark of each partition of the scored records."""
        partitions = sorted(number for _, number in self.select(bounds, "scored"))
        return read_watermarks(self.reader, self.select(bounds, "watermarks"), partitions)

    def recent_dead_letters(
        self, bounds: OffsetBounds, now: int, read_open_check: ReadOpenCheck | None = None
    ) -> RecentDeadLetters:
        """Return the dead letters written in the ten minutes before `now` (Unix milliseconds).

        Without `read_open_check`, it is unknown which of them are open.
        """
        dead_letters = self.select(bounds, "raw.dlq", "labels.dlq")
        ends = {partition_id: end for partition_id, (low, end) in dead_letters.items() if low < end}
        start = now - RECENT_MINUTES * 60_000
        since = self.reader.offsets_since(ends, start) if ends else {}
        ranges = {
            partition_id: (max(since[partition_id], end - MAX_DEAD_LETTERS), end)
            for partition_id, end in ends.items()
        }
        found: dict[DeadLetterKind, Counter[str]] = {"raw.dlq": Counter(), "labels.dlq": Counter()}
        positions: list[tuple[DeadLetterKind, int, int, str]] = []
        for message in self.reader.records(ranges):
            topic, partition = partition_of(message)
            kind: DeadLetterKind = "raw.dlq" if topic == self.topic("raw.dlq") else "labels.dlq"
            code = _error_code(message)
            found[kind][code] += 1
            positions.append((kind, partition, message.offset() or 0, code))
        still_open = None
        if read_open_check is not None:
            ledger = self.select(bounds, "replays") if positions else {}
            is_open = read_open_check(self.reader, ledger)
            still_open = dict(
                Counter(
                    code
                    for kind, number, offset, code in positions
                    if is_open(kind, number, offset)
                )
            )
        complete = all(ranges[partition_id][0] == since[partition_id] for partition_id in ranges)
        events, labels = dict(found["raw.dlq"]), dict(found["labels.dlq"])
        return RecentDeadLetters(RECENT_MINUTES, complete, events, labels, still_open)

    def close(self) -> None:
        """Close the connections."""
        for reader in self._group_readers.values():
            reader.close_in_background()
        self._group_readers = {}
        self.reader.close()

    def close_in_background(self) -> None:
        """Close the connections, also that of an admin client of its own, and return at once."""
        for reader in (self.reader, *self._group_readers.values()):
            reader.close_in_background()
        self._group_readers = {}
        if not self._is_admin_shared:
            owner = ClientOwner(self.admin)
            # Otherwise this thread would destroy the client, which takes up to a second.
            del self.admin
            owner.close_in_background()


def served_manifest(registry: ModelRegistry) -> Manifest | None:
    """Return the manifest of the served version, None before there is one.

    Raises:
        ModelError: the manifest cannot be read.
    """
    return None if registry.served is None else registry.current


class RegistryReader:
    """Reads a model registry from its topic; later reads continue where the last one ended."""

    def __init__(self, reader: PartitionReader) -> None:
        self._reader = reader
        self._latest: dict[bytes | None, bytes | None] = {}
        self._read_to = 0

    def read(self, partition_id: PartitionId, low: int, high: int) -> ModelRegistry:
        """Return the registry as of the offset `high`; `low` is the beginning offset.

        Raises as `PartitionReader.poll`.
        """
        # The topic was recreated.
        if high < self._read_to:
            self._latest, self._read_to = {}, 0
        for message in self._reader.records({partition_id: (max(low, self._read_to), high)}):
            self._latest[message.key()] = message.value()
        self._read_to = high
        return ModelRegistry.of(self._latest.items())


def _error_code(message: Message) -> str:
    headers = dict(headers_of(message))
    return (headers.get(ERROR_CODE) or b"unknown").decode("utf-8", "replace")
