"""A pipeline as seen from outside: connections to its cluster, and every fact that can be read there."""

from collections import Counter
from collections.abc import Iterable

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from stream_app.formatting import iso_time, seconds_since
from stream_app.headers import ERROR_CODE
from stream_app.kafka.clients import (
    ConnectionErrors,
    bootstrap_servers,
    check_visible,
    cluster_topics,
    make_admin,
    make_consumer,
)
from stream_app.kafka.offsets import Limits, Place, offsets_since
from stream_app.kafka.topic_uses import ROLE_INPUTS, group_name
from stream_app.kafka.topics import KINDS, topic_name
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.schema_registry import open_registry
from stream_app.settings import Settings
from stream_app.status.cluster_view import ConsumerGroup, groups, topic_limits
from stream_app.status.measurements import Measurements, read_measurements
from stream_app.status.newest_records import NewestRecords, place_of
from stream_app.status.record_counts_reading import PartitionCounts, read_sheets
from stream_app.status.status_model import ModelStatus, RecentDeadLetters
from stream_app.transfer.value_encoding import Decoder


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
        found = groups(self.admin, [group_name(self.name, role) for role in ROLE_INPUTS])
        return {role: found[group_name(self.name, role)] for role in ROLE_INPUTS}

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


class RegistryReader:
    """Reads the registry; from the second time on only what is new."""

    def __init__(self, tail: NewestRecords) -> None:
        self._tail = tail
        self._latest: dict[bytes | None, bytes | None] = {}  # of each key, up to this offset
        self._read_to = 0

    def read(self, place: Place, low: int, high: int) -> ModelRegistry:
        """As of the offset `high`; `low` is the first offset still there. Raises as `NewestRecords.between`."""
        if high < self._read_to:  # the topic was made anew
            self._latest, self._read_to = {}, 0
        for message in self._tail.between({place: (max(low, self._read_to), high)}):
            self._latest[message.key()] = message.value()
        self._read_to = high
        return ModelRegistry.of(self._latest.items())


def model_status(manifest: Manifest, behind: int, now: float) -> ModelStatus:
    """As it is shown; `now` is epoch seconds."""
    return ModelStatus(
        version=manifest.version,
        created_at=manifest.created_at,
        age_seconds=round(seconds_since(manifest.created_at, now), 1),
        learned=manifest.learned,
        learned_through=None
        if manifest.learned_through is None
        else iso_time(manifest.learned_through),
        behind=behind,
        fingerprint=manifest.fingerprint,
        metrics=manifest.metrics,
    )


MINUTES = 10
MOST = 1000  # newest offsets of a partition that are looked at


def recent_dead_letters(view: PipelineView, limits: Limits, now: int) -> RecentDeadLetters:
    """Those written since ten minutes before `now` (epoch milliseconds); `limits` are those of the dead letters."""
    ends = {place: end for place, (low, end) in limits.items() if low < end}
    since = offsets_since(view.consumer, view.errors, ends, now - MINUTES * 60_000) if ends else {}
    ranges = {place: (max(since[place], end - MOST), end) for place, end in ends.items()}
    counts: dict[str, Counter[str]] = {
        view.topic("raw.dlq"): Counter(),
        view.topic("labels.dlq"): Counter(),
    }
    for message in view.tail.between(ranges):
        counts[place_of(message)[0]][_code(message)] += 1
    events, labels = (dict(codes) for codes in counts.values())
    return RecentDeadLetters(
        MINUTES, all(ranges[place][0] == since[place] for place in ranges), events, labels
    )


def _code(message: Message) -> str:
    headers = dict(message.headers() or ())
    return (headers.get(ERROR_CODE) or b"unknown").decode("utf-8", "replace")
