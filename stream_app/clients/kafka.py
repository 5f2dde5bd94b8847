"""The one place where Kafka clients are configured, and where an unreachable cluster becomes one clear error."""

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata

from stream_app.core.records import ENVELOPE_BYTES
from stream_app.errors import KafkaUnavailableError
from stream_app.settings import Settings

ClientConfig = dict[str, str | int]
"""Settings of librdkafka by their own names."""

_HOPELESS = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED})
_SILENT = 0
_DEBUG = 7


def bootstrap_servers(settings: Settings) -> str:
    """The configured cluster's address, or the embedded broker's.

    Raises `KafkaUnavailableError` if neither is configured nor the embedded broker runs.
    """
    if settings.kafka.bootstrap_servers:
        return settings.kafka.bootstrap_servers
    from stream_app.broker.embedded import EmbeddedBroker

    broker = EmbeddedBroker(settings.data_dir / "kafka", port=settings.broker.port, cache_dir=settings.cache_dir)
    if not broker.status().running:
        raise KafkaUnavailableError(
            "No Kafka: the embedded broker is not running and no cluster is configured",
            "Run `stream-app broker start` or `stream-app up`, or set STREAM_APP_KAFKA__BOOTSTRAP_SERVERS",
        )
    return broker.bootstrap_servers


def client_config(settings: Settings) -> ClientConfig:
    """What every librdkafka client needs to reach the cluster, e.g. ``Producer(client_config(settings) | {...})``."""
    return {
        "bootstrap.servers": bootstrap_servers(settings),
        "client.id": "stream-app",
        "log_level": _DEBUG if settings.log.level == "debug" else _SILENT,
        "topic.metadata.refresh.interval.ms": 30_000,
    }


class ConnectionErrors:
    """An `error_cb` that remembers what went wrong instead of printing it.

    ``errors = ConnectionErrors("kafka:9092"); Producer(config | {"error_cb": errors})``
    """

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        if self.last is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.last = error

    @property
    def hopeless(self) -> bool:
        """Waiting does not help: the cluster answers and refuses us."""
        return self.last is not None and self.last.code() in _HOPELESS

    def unavailable(self) -> KafkaUnavailableError:
        """What is known, as the error to raise."""
        reason = _reason(self.last) if self.last is not None else "no answer"
        return KafkaUnavailableError(
            f"Kafka at {self.servers} cannot be reached: {reason}",
            "Check that the broker runs and STREAM_APP_KAFKA__BOOTSTRAP_SERVERS is its address",
        )


def make_admin(settings: Settings, timeout: float = 6.0) -> AdminClient:
    """An admin client whose cluster has answered; `KafkaUnavailableError` after `timeout` seconds without answer."""
    config = client_config(settings)
    errors = ConnectionErrors(str(config["bootstrap.servers"]))
    admin = AdminClient({**config, "reconnect.backoff.max.ms": 500}, error_cb=errors)
    deadline = time.monotonic() + timeout
    while (remaining := deadline - time.monotonic()) > 0:
        try:
            admin.list_topics(timeout=min(1.0, remaining))
            return admin
        except KafkaException:
            admin.poll(0)
            if errors.hopeless:
                break
    raise errors.unavailable()


def make_producer(settings: Settings, errors: ConnectionErrors | None = None, **config: str | int | float) -> Producer:
    """An idempotent producer with Java's partitioner; `config` overrides, with underscores for dots."""
    base = client_config(settings)
    return Producer(
        {
            **base,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "message.max.bytes": settings.topics.max_message_bytes + 2 * ENVELOPE_BYTES,
            "error_cb": errors or ConnectionErrors(str(base["bootstrap.servers"])),
            **_dotted(config),
        }
    )


def make_consumer(settings: Settings, errors: ConnectionErrors | None = None, **config: str | int | float) -> Consumer:
    """A consumer of committed records that never commits; assign partitions to it. `config` as in `make_producer`."""
    base = client_config(settings)
    return Consumer(
        {
            **base,
            "group.id": "stream-app-reader",  # librdkafka insists on one; nothing joins or commits it
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "error_cb": errors or ConnectionErrors(str(base["bootstrap.servers"])),
            **_dotted(config),
        }
    )


def cluster_topics(admin: AdminClient, timeout: float = 10.0) -> ClusterMetadata:
    """All topics of the cluster with their partitions."""
    try:
        return admin.list_topics(timeout=timeout)
    except KafkaException as error:
        reason = _reason(error.args[0])
        raise KafkaUnavailableError(f"Kafka does not answer: {reason}", "Check that the broker runs") from None


def _dotted(config: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in config.items()}


def _reason(error: KafkaError) -> str:
    text = str(error.str()).split("/bootstrap: ", 1)[-1]
    return text.split(" (after", 1)[0]
