"""Parts that both hand-written transactional loops share: clients, counters, dead letters."""

import re
import traceback
from dataclasses import dataclass
from hashlib import blake2b

from confluent_kafka import Consumer, Message, Producer

from stream_app.kafka.clients import client_config, consumer_config, producer_config
from stream_app.settings import KafkaSettings, Settings
from stream_app.worker.transaction_writer import PRODUCER_CONFIG

# Milliseconds.
HORIZON = 36 * 3600 * 1000
LATENESS = 3600 * 1000
DAY = 24 * 3600 * 1000
MINUTE = 60_000


@dataclass(slots=True)
class RecordCounts:
    """Counters that each transaction writes; times in Unix milliseconds."""

    scored: int = 0
    dead: int = 0
    duplicates: int = 0
    watermark: int = 0
    # Labels would advance it.
    clock: int = 0


def committed_reader(servers: str, group: str) -> Consumer:
    """Returns a consumer of committed records with the settings of the package."""
    config = client_config(_settings(servers))
    return Consumer(consumer_config(config, group, enable_partition_eof="false"))


def transactional_producer(servers: str, transactional_id: str) -> Producer:
    """Returns a transactional producer with the settings of the package's workers."""
    config = producer_config(_settings(servers))
    return Producer({**config, **PRODUCER_CONFIG, "transactional.id": transactional_id})


def dead_headers(message: Message, error: Exception, now: int) -> list[tuple[str, bytes]]:
    """Returns the headers of a dead letter."""
    text = str(error)
    headers = {
        "error-id": blake2b(
            f"{message.topic()}/{message.partition()}/{message.offset()}".encode()
        ).hexdigest()[:16],
        "error-code": "bad",
        "error-message": text,
        "error-exception": type(error).__name__,
        "error-stacktrace": "".join(traceback.format_tb(error.__traceback__)),
        "error-fingerprint": blake2b(re.sub(r"\d+", "#", text).encode()).hexdigest()[:16],
        "original-topic": message.topic(),
        "original-partition": str(message.partition()),
        "original-offset": str(message.offset()),
        "original-timestamp": str(message.timestamp()[1]),
        "error-last-failed-at": str(now),
    }
    return [(name, content.encode()) for name, content in headers.items()]


def _settings(servers: str) -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap_servers=servers))
