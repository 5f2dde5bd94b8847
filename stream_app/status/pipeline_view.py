"""A pipeline as seen from outside: connections to its cluster, and every fact that can be read there."""

from collections.abc import Iterable

from confluent_kafka.admin import AdminClient

from stream_app.kafka.clients import (
    ConnectionErrors,
    bootstrap_servers,
    check_visible,
    cluster_topics,
    make_admin,
    make_consumer,
)
from stream_app.kafka.offsets import Limits, Place
from stream_app.kafka.topics import KINDS, topic_name
from stream_app.model_store.manifest import Manifest
from stream_app.schema_registry import open_registry
from stream_app.settings import Settings
from stream_app.status.cluster_view import ConsumerGroup, groups, topic_limits
from stream_app.status.measurements import Measurements, read_measurements
from stream_app.status.newest_records import NewestRecords
from stream_app.status.record_counts_reading import PartitionCounts, read_sheets
from stream_app.status.role_status import group_name
from stream_app.status.served_version import RegistryReader
from stream_app.transfer.value_encoding import Decoder
from stream_app.worker.roles.role_table import ROLES


class PipelineView:
    """Reads what topics and groups tell of the pipeline `name`; one thread at a time.

    Every method asks anew, and raises `KafkaUnavailableError` if the cluster does not answer.
    """

    def __init__(self, settings: Settings, name: str, admin: AdminClient | None = None) -> None:
        self.name = name
        self.settings = settings
        self.servers = bootstrap_servers(settings)
        self.admin = admin or make_admin(settings)
        self.errors = ConnectionErrors(self.servers, settings.kafka)
        self.consumer = make_consumer(
            settings,
            self.errors,
            fetch_wait_max_ms=50,
            max_partition_fetch_bytes=256 * 1024,
            queued_max_messages_kbytes=1024,
        )
        self._known: set[str] = set()
        self._decoder = Decoder(open_registry(settings.registry) if settings.registry.url else None)
        self.tail = NewestRecords(self.consumer, self.errors)
        self._registry = RegistryReader(self.tail)

    def topic(self, kind: str) -> str:
        """Full name of one of the pipeline's topics."""
        return topic_name(self.name, kind)

    def limits(self) -> Limits:
        """Where every partition of the pipeline's topics begins and ends."""
        topics = cluster_topics(self.admin).topics
        names = [self.topic(kind) for kind in KINDS if self.topic(kind) in topics]
        self._introduce(names)
        return topic_limits(
            self.admin, [(name, number) for name in names for number in topics[name].partitions]
        )

    def _introduce(self, names: Iterable[str]) -> None:
        """Tell the reading client of topics: left to itself, it takes a second for each that it has not met."""
        for name in names:
            if name not in self._known:
                check_visible(self.consumer, (name,))
                self._known.add(name)

    def of(self, limits: Limits, *kinds: str) -> dict[Place, tuple[int, int]]:
        """The limits of some kinds of topics."""
        names = {self.topic(kind) for kind in kinds}
        return {place: limit for place, limit in limits.items() if place[0] in names}

    def groups(self) -> dict[str, ConsumerGroup]:
        """The consumer group of each role."""
        found = groups(self.admin, [group_name(self.name, role) for role in ROLES])
        return {role: found[group_name(self.name, role)] for role in ROLES}

    def sheets(self, limits: Limits) -> dict[int, PartitionCounts]:
        """The books of each partition that has some."""
        return read_sheets(self.tail, self.of(limits, "score.state"))

    def served(self, limits: Limits) -> Manifest | None:
        """The version that is served, None before there is one; ModelError if its manifest cannot be read."""
        found = self.of(limits, "models")
        if not found:
            return None
        registry = self._registry.read(*next((place, *limit) for place, limit in found.items()))
        return None if registry.served is None else registry.current

    def measurements(self, limits: Limits) -> Measurements:
        """The newest measurements; `RegistryError` if they are Avro and the registry does not answer."""
        return read_measurements(self.tail, self.of(limits, "monitoring"), self._decoder)

    def close(self) -> None:
        """Let the cluster go."""
        self.consumer.close()
