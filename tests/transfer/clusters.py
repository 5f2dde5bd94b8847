"""Settings, topics, producers and records for tests with a broker."""

from collections.abc import Iterable
from functools import cache
from uuid import uuid4

from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.topics import create_topics
from stream_app.settings import KafkaSettings, Settings, TopicSettings
from stream_app.transfer.consume import RecordSelection, SelectedKind, consume

PARTITIONS = 4


def unique_name() -> str:
    """Return a pipeline name that no other test has."""
    return f"p-{uuid4().hex[:12]}"


def settings_for(broker: EmbeddedBroker, **topics: int) -> Settings:
    """Return settings for the broker."""
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
        topics=TopicSettings(**{"partitions": PARTITIONS, **topics}),
    )


def new_topics(settings: Settings) -> str:
    """Create the topics of a new pipeline; return its name."""
    name = unique_name()
    create_topics(admin(settings), name, settings)
    return name


def admin(settings: Settings) -> AdminClient:
    """Return the admin client of all tests, because closing one takes up to a second."""
    return _admin(str(settings.kafka.bootstrap_servers))


@cache
def _admin(servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": servers, "log_level": 0})


def producer(settings: Settings, **config: str) -> Producer:
    named = {name.replace("_", "."): value for name, value in config.items()}
    return Producer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "linger.ms": 1,
            "log_level": 0,
            **named,
        }
    )


def send(settings: Settings, topic: str, values: Iterable[bytes | None], **options: int) -> None:
    """Send values with the key `k`."""
    sender = producer(settings)
    for value in values:
        sender.produce(topic, value, b"k", **options)
    assert sender.flush(20) == 0


def read(settings: Settings, name: str, kind: SelectedKind) -> list[Message]:
    """Return all records of the topics of a kind."""
    selection = RecordSelection(kind=kind, start="beginning", until_end=True)
    return [message for batch in consume(settings, name, selection) for message in batch]
