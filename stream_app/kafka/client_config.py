"""Configuration of librdkafka clients."""

import logging
from collections.abc import Mapping
from typing import Any

from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.security import librdkafka_options
from stream_app.records import ENVELOPE_BYTES
from stream_app.settings import Settings

ClientConfig = dict[str, Any]
"""Options of librdkafka by their own names; secrets in it do not show in its `repr`."""

_LOG = logging.getLogger("stream_app.kafka.librdkafka")
_SILENT = 0
_DEBUG = 7


def bootstrap_servers(settings: Settings) -> str:
    """Return the address of the configured cluster, or of the embedded broker.

    Raises:
        KafkaUnavailableError: neither is a cluster configured nor does the embedded broker run.
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
            "Run `stream-app broker start` or `stream-app up`, "
            "or set STREAM_APP_KAFKA__BOOTSTRAP_SERVERS",
        )
    return broker.bootstrap_servers


def client_config(settings: Settings) -> ClientConfig:
    """Return the options that every client needs to reach the cluster.

    A client must be polled before and between blocking calls: only then does it fetch tokens and
    report errors.

    Raises:
        SettingsError: security settings contradict each other.
    """
    debug = settings.log.level == "debug"
    # Even at level 0 librdkafka logs fatal errors, which are reported anyway.
    _LOG.disabled = not debug
    return {
        **librdkafka_options(settings.kafka),
        "bootstrap.servers": bootstrap_servers(settings),
        "client.id": "stream-app",
        "log_level": _DEBUG if debug else _SILENT,
        "logger": _LOG,
        "topic.metadata.refresh.interval.ms": 30_000,
        # Otherwise a request for a missing topic creates it, with the broker's partition count.
        "allow.auto.create.topics": False,
    }


def consumer_config(
    config: Mapping[str, Any], group: str = "stream-app-reader", **options: str | int
) -> ClientConfig:
    """Return the options of a consumer of committed records that neither subscribes nor commits.

    Args:
        config: result of `client_config`.
        group: group whose committed offsets can be asked for; librdkafka requires one.
        options: further options, with underscores for dots.
    """
    return {
        **config,
        "group.id": group,
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        # With a longer wait, a partition without new records delays the others.
        "fetch.wait.max.ms": 50,
        **_dotted(options),
    }


def producer_config(settings: Settings, **options: str | int) -> ClientConfig:
    """Return the options of an idempotent producer that partitions keys like Java's.

    Args:
        options: further options, with underscores for dots.
    """
    return {
        **client_config(settings),
        "partitioner": "murmur2_random",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 5,
        "message.max.bytes": settings.topics.max_message_bytes + 2 * ENVELOPE_BYTES,
        **_dotted(options),
    }


def _dotted(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in options.items()}
