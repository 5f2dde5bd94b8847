"""The one place where Kafka clients are configured, and where an unreachable cluster becomes one clear error."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata

from stream_app.errors import KafkaUnavailableError, StreamAppError
from stream_app.kafka.access_errors import failure, is_refusal, missing_right, refusal
from stream_app.kafka.security import librdkafka_options
from stream_app.records import ENVELOPE_BYTES
from stream_app.settings import KafkaSettings, Settings

ClientConfig = dict[str, Any]
"""Settings of librdkafka by their own names; secrets in it do not show in its `repr`."""

_LOG = logging.getLogger(f"{__name__}.librdkafka")
_ASK = 0.5  # seconds; in between it comes to light that the cluster refuses us
_SILENT = 0
_DEBUG = 7


def bootstrap_servers(settings: Settings) -> str:
    """The configured cluster's address, or the embedded broker's.

    Raises `KafkaUnavailableError` if neither is configured nor the embedded broker runs.
    """
    if settings.kafka.bootstrap_servers:
        return settings.kafka.bootstrap_servers
    from stream_app.broker.embedded import EmbeddedBroker

    broker = EmbeddedBroker(
        settings.data_dir / "kafka", port=settings.broker.port, cache_dir=settings.cache_dir
    )
    if not broker.status().running:
        raise KafkaUnavailableError(
            "No Kafka: the embedded broker is not running and no cluster is configured",
            "Run `stream-app broker start` or `stream-app up`, or set STREAM_APP_KAFKA__BOOTSTRAP_SERVERS",
        )
    return broker.bootstrap_servers


def client_config(settings: Settings) -> ClientConfig:
    """What every librdkafka client needs to reach the cluster, e.g. ``Producer(client_config(settings) | {...})``.

    Clients have to be polled before and between calls that block: only then they fetch tokens and report errors.
    Raises `SettingsError` for inconsistent settings of security.
    """
    debug = settings.log.level == "debug"
    _LOG.disabled = (
        not debug
    )  # even silent, librdkafka logs what is fatal, and that is reported anyway
    return {
        **librdkafka_options(settings.kafka),
        "bootstrap.servers": bootstrap_servers(settings),
        "client.id": "stream-app",
        "log_level": _DEBUG if debug else _SILENT,
        "logger": _LOG,
        "topic.metadata.refresh.interval.ms": 30_000,
        "allow.auto.create.topics": False,  # or asking for a missing topic would make it, with any number of partitions
    }


class ConnectionErrors:
    """An `error_cb` that remembers what went wrong instead of printing it.

    ``errors = ConnectionErrors("kafka:9092", settings.kafka); Producer(config | {"error_cb": errors})``
    """

    def __init__(self, servers: str, kafka: KafkaSettings) -> None:
        self.servers = servers
        self.last: KafkaError | None = None
        self._kafka = kafka

    def __call__(self, error: KafkaError) -> None:
        if self.last is None or not _says_little(error):
            self.last = error

    @property
    def hopeless(self) -> bool:
        """Waiting does not help: the cluster answers and refuses us."""
        return self.last is not None and is_refusal(self.last)

    def unavailable(self) -> StreamAppError:
        """What is known, as the error to raise: `AccessError` if the cluster refuses us."""
        refused = refusal(self.last, self.servers, self._kafka) if self.last is not None else None
        if refused is not None:
            return refused
        reason = _reason(self.last) if self.last is not None else "no answer"
        return KafkaUnavailableError(
            f"Kafka at {self.servers} cannot be reached: {reason}",
            "Check that the broker runs and STREAM_APP_KAFKA__BOOTSTRAP_SERVERS is its address",
        )


def _says_little(error: KafkaError) -> bool:
    """Whether it only follows from another error, as the failure to send on a connection that the broker has ended."""
    text = str(error.str())
    return (
        error.code() == KafkaError._ALL_BROKERS_DOWN
        or "Send failed" in text
        or "Disconnected (after" in text
    )


def make_admin(settings: Settings, timeout: float = 6.0) -> AdminClient:
    """An admin client whose cluster has answered.

    Raises `AccessError` if the cluster refuses us, `KafkaUnavailableError` after `timeout` seconds without answer.
    """
    config = client_config(settings)
    errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
    admin = AdminClient({**config, "reconnect.backoff.max.ms": 500}, error_cb=errors)
    deadline = time.monotonic() + timeout
    while (remaining := deadline - time.monotonic()) > 0 and not errors.hopeless:
        admin.poll(0)
        try:
            admin.list_topics(timeout=min(_ASK, remaining))
            return admin
        except KafkaException:
            admin.poll(0)
    raise errors.unavailable()


def make_producer(
    settings: Settings, errors: ConnectionErrors | None = None, **config: str | int | float
) -> Producer:
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
            "error_cb": errors or ConnectionErrors(base["bootstrap.servers"], settings.kafka),
            **_dotted(config),
        }
    )


def make_consumer(
    settings: Settings, errors: ConnectionErrors | None = None, **config: str | int | float
) -> Consumer:
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
            "error_cb": errors or ConnectionErrors(base["bootstrap.servers"], settings.kafka),
            **_dotted(config),
        }
    )


def cluster_topics(admin: AdminClient, timeout: float = 10.0) -> ClusterMetadata:
    """All topics of the cluster that we may see, with their partitions."""
    admin.poll(0)
    try:
        return admin.list_topics(timeout=timeout)
    except KafkaException as error:
        raise failure(error.args[0], "list the topics") from None


def check_visible(
    client: AdminClient | Consumer | Producer, topics: Iterable[str], timeout: float = 5.0
) -> None:
    """Raise `AccessError` if one of these topics is not missing but hidden from this user."""
    for topic in topics:
        try:
            error = client.list_topics(topic, timeout=timeout).topics[topic].error
        except KafkaException as raised:
            raise failure(raised.args[0], f"describe {topic}") from None
        if error is not None and (denied := missing_right(error, f"see {topic}")):
            raise denied


def _dotted(config: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in config.items()}


def _reason(error: KafkaError) -> str:
    text = str(error.str()).split("/bootstrap: ", 1)[-1]
    return text.split(" (after", 1)[0]
