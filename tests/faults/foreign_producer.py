"""Producer without the rules of the program: librdkafka, and the bare protocol for the rest."""

import asyncio
from collections import defaultdict
from random import Random
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.partitioner import murmur2
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from stream_app.topic_kinds import topic_name
from tests.faults.hostile_records import ForeignRecord
from tests.running_system import System

# A batch must fit into a topic whose records are at most 1 MiB.
MAX_BATCH_BYTES = 900_000
# Without compression, gzip, snappy, lz4 and zstd.
CODECS = range(5)
# Times of producers, which the program does not use. The broker rejects those far ahead.
TIMESTAMPS = (None, None, -1, 0, 1, 1_356_998_400_000)


class RawName(str):
    """Header name of any bytes, which aiokafka writes as they are."""

    __slots__ = ("content",)

    def __new__(cls, content: bytes) -> "RawName":
        made = super().__new__(cls)
        made.content = content
        return made

    content: bytes

    def encode(self, *_: object) -> bytes:
        return self.content


class ForeignProducer:
    """Sends records to a system. What librdkafka cannot send goes out with `flush`, in batches.

    Args:
        system: the system.
        seed: decides on codecs, timestamps and the partitions of records without a key.
    """

    def __init__(self, system: System, seed: int) -> None:
        self._system = system
        self._chance = Random(seed)
        self._runner = asyncio.Runner()
        self._client: Any = None
        self._bare: defaultdict[tuple[str, int], list[ForeignRecord]] = defaultdict(list)
        self._partitions = system.settings.topics.partitions

    def __enter__(self) -> "ForeignProducer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._runner.run(self._client.close())
        self._runner.close()

    def send(self, record: ForeignRecord) -> None:
        """Sends a record, or keeps it for `flush` if librdkafka cannot send its header names."""
        partition = (
            self._chance.randrange(self._partitions)
            if record.key is None
            else (murmur2(record.key) & 0x7FFFFFFF) % self._partitions
        )
        if not all(map(_is_plain, record.headers)):
            self._bare[topic_name(self._system.name, record.kind), partition].append(record)
            return
        headers = [(name.decode(), content) for name, content in record.headers]
        self._system.send(
            record.kind, record.value, record.key, partition=partition, headers=headers
        )

    def flush(self) -> None:
        """Waits until everything is written."""
        assert self._system.producer.flush(60) == 0
        if self._bare:
            self._runner.run(self._send_bare())
        self._bare.clear()

    async def _send_bare(self) -> None:
        if self._client is None:
            self._client = AIOKafkaClient(bootstrap_servers=self._system.servers)
            await self._client.bootstrap()
        node = self._client.get_random_node()
        for (topic, partition), records in self._bare.items():
            left = records
            while left:
                batch, count = self._batch(left)
                request = ProduceRequest(None, -1, 30_000, [(topic, [(partition, batch)])])
                answer = await self._client.send(node, request)
                assert answer.topics[0][1][0][1] == 0, answer
                self._system.sent[left[0].kind] += count
                left = left[count:]

    def _batch(self, records: list[ForeignRecord]) -> tuple[bytes, int]:
        """Returns a batch of the first records, and their number."""
        codec = self._chance.choice(CODECS)
        builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, MAX_BATCH_BYTES)
        for number, record in enumerate(records):
            headers: list[tuple[str, bytes | None]] = [
                (RawName(name), content) for name, content in record.headers
            ]
            timestamp = self._chance.choice(TIMESTAMPS)
            if builder.append(number, timestamp, record.key, record.value, headers) is None:
                return bytes(builder.build()), number
        return bytes(builder.build()), len(records)


def _is_plain(header: tuple[bytes, bytes | None]) -> bool:
    """Return True if librdkafka sends the header as it is."""
    name, _ = header
    try:
        return "\0" not in name.decode()
    except UnicodeDecodeError:
        return False
