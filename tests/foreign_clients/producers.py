"""Producers of five Kafka clients with their default partitioners and every compression."""

import asyncio
import importlib
import shutil
import subprocess
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from stream_app.kafka.partitioner import java_partition, librdkafka_partition
from tests.patience import PATIENCE

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
_FOLDER = Path(__file__).parent
_SECONDS = 60 * PATIENCE
# librdkafka sends a batch uncompressed if it would not become smaller.
_LINGER_MS = 50


class SentRecord(NamedTuple):
    """Record to send."""

    topic: str
    key: bytes
    value: bytes | None


Batches = Mapping[str, Sequence[SentRecord]]
"""Records by codec."""


class ForeignClient(NamedTuple):
    """Kafka client.

    Attributes:
        name: name of the client.
        send: sends batches to bootstrap servers, and returns when the broker has acknowledged them.
        partition: partition that its default partitioner chooses for a key, of a number of them.
        missing: returns what has to be installed to use it, None if nothing.
    """

    name: str
    send: Callable[[str, Batches], None]
    partition: Callable[[bytes, int], int]
    missing: Callable[[], str | None]


def _send_with_confluent(servers: str, batches: Batches, **options: str) -> None:
    for codec, records in batches.items():
        config = {"compression.type": codec, "linger.ms": _LINGER_MS, **options}
        producer = Producer({"bootstrap.servers": servers, **config})
        for topic, key, value in records:
            producer.produce(topic, value, key)
        assert producer.flush(_SECONDS) == 0


def _send_with_kafka_python(servers: str, batches: Batches) -> None:
    with warnings.catch_warnings():
        # It reads its schemas by a deprecated function.
        warnings.simplefilter("ignore", DeprecationWarning)
        kafka = importlib.import_module("kafka")
        for codec, records in batches.items():
            producer = kafka.KafkaProducer(
                bootstrap_servers=servers,
                compression_type=None if codec == "none" else codec,
                linger_ms=_LINGER_MS,
            )
            sent = [producer.send(topic, value, key) for topic, key, value in records]
            for one in sent:
                one.get(_SECONDS)
            producer.close(_SECONDS)


def _send_with_aiokafka(servers: str, batches: Batches) -> None:
    asyncio.run(_send_asynchronously(servers, batches))


async def _send_asynchronously(servers: str, batches: Batches) -> None:
    for codec, records in batches.items():
        producer = AIOKafkaProducer(
            bootstrap_servers=servers,
            compression_type=None if codec == "none" else codec,
            linger_ms=_LINGER_MS,
        )
        async with producer:
            sent: list[Any] = [
                await producer.send(topic, value, key) for topic, key, value in records
            ]
            await asyncio.gather(*sent)


def _send_with_kcat(servers: str, batches: Batches, *options: str) -> None:
    for codec, records in batches.items():
        for topic, found in _by_topic(records).items():
            command = [_kcat() or "kcat", "-P", "-b", servers, "-t", topic, "-z", codec]
            # Keys end with a tab, and values with a line; an empty value is sent as null.
            lines = [record.key + b"\t" + (record.value or b"") + b"\n" for record in found]
            _run([*command, *options, "-K", "\t", "-Z"], b"".join(lines))


def _send_with_kafkajs(servers: str, batches: Batches) -> None:
    named = [
        {
            "codec": codec,
            "topic": topic,
            "records": [
                {"key": key.decode(), "value": None if value is None else value.decode()}
                for _, key, value in found
            ],
        }
        for codec, records in batches.items()
        for topic, found in _by_topic(records).items()
    ]
    request = orjson.dumps({"servers": servers, "batches": named})
    sent = _run(["node", str(_FOLDER / "kafkajs_producer.js")], request)
    assert int(sent) == sum(map(len, batches.values()))


def _by_topic(records: Iterable[SentRecord]) -> dict[str, list[SentRecord]]:
    found = defaultdict(list)
    for record in records:
        found[record.topic].append(record)
    return found


def _run(command: list[str], data: bytes) -> bytes:
    """Return the output of a program, which has to succeed."""
    done = subprocess.run(command, input=data, capture_output=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _kcat() -> str | None:
    # Debian called it kafkacat.
    return shutil.which("kcat") or shutil.which("kafkacat")


def _nothing() -> None:
    return None


def _missing_kcat() -> str | None:
    return None if _kcat() else "kcat is missing: apt-get install kcat"


def _missing_kafkajs() -> str | None:
    if shutil.which("node") is None:
        return "Node.js is missing, which kafkajs needs"
    if not (_FOLDER / "node_modules" / "kafkajs").exists():
        return "kafkajs is missing: npm ci --ignore-scripts --prefix tests/foreign_clients"
    return None


_java = partial(ForeignClient, partition=java_partition, missing=_nothing)
_librdkafka = partial(ForeignClient, partition=librdkafka_partition, missing=_nothing)

CONFLUENT = _librdkafka("confluent-kafka", _send_with_confluent)
KCAT = _librdkafka("kcat", _send_with_kcat, missing=_missing_kcat)
KAFKA_PYTHON = _java("kafka-python", _send_with_kafka_python)
AIOKAFKA = _java("aiokafka", _send_with_aiokafka)
KAFKAJS = _java("kafkajs", _send_with_kafkajs, missing=_missing_kafkajs)
CONFLUENT_WITH_MURMUR2 = _java(
    "confluent-kafka with murmur2", partial(_send_with_confluent, partitioner="murmur2_random")
)
KCAT_WITH_MURMUR2 = _java(
    "kcat with murmur2",
    lambda servers, batches: _send_with_kcat(
        servers, batches, "-X", "topic.partitioner=murmur2_random"
    ),
    missing=_missing_kcat,
)
CLIENTS = (CONFLUENT, KCAT, KAFKA_PYTHON, AIOKAFKA, KAFKAJS)
