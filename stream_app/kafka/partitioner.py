"""Partition of a key, as producers choose it, and as the pipeline places its own records."""

import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiokafka.partitioner import murmur2

from stream_app.core.reading.direct_reading import Placement
from stream_app.pipeline import Pipeline, direct_source
from stream_app.sources import PartitionerName


def java_partition(key: bytes, partitions: int) -> int:
    """Return the partition chosen by Java's producer, and by librdkafka's `murmur2_random`.

    >>> java_partition(b"kafka", 12), java_partition(b"", 12)
    (4, 9)
    """
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def librdkafka_partition(key: bytes, partitions: int) -> int:
    """Return the partition chosen by librdkafka's default partitioner, `consistent_random`."""
    return zlib.crc32(key) % partitions


def fnv1a_partition(key: bytes, partitions: int) -> int:
    """Return the partition chosen by sarama's default partitioner, which hashes by FNV-1a.

    >>> fnv1a_partition(b"kafka", 12), fnv1a_partition(b"", 12)
    (5, 3)
    """
    digest = 0x811C9DC5
    for byte in key:
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    # As a signed number, whose remainder loses its sign.
    signed = digest - (1 << 32) if digest >> 31 else digest
    return abs(signed) % partitions


PLACED_BY_KEY = -1
"""Partition of an output that librdkafka places by its key, with the pipeline's partitioner."""


class Partitioner(NamedTuple):
    """Partitioner of producers.

    Attributes:
        name: name in declarations.
        place: returns the partition of a key, given the number of partitions.
        option: librdkafka's name of it; such a producer places null keys, too.
        clients: producers that have it by default.
    """

    name: PartitionerName
    place: Callable[[bytes, int], int]
    option: str
    clients: str

    @property
    def producer_option(self) -> str:
        """Librdkafka's name of it for producers, which send null keys to any partition."""
        return f"{self.option}_random"

    def placement(self, partitions: Callable[[], int]) -> Placement:
        """Return the placement over a number of partitions, asked for when a key is placed."""
        return Placement(self.name, lambda key: self.place(key, partitions()))


PARTITIONERS: Mapping[PartitionerName, Partitioner] = {
    one.name: one
    for one in (
        Partitioner("murmur2", java_partition, "murmur2", "Java, kafka-python, aiokafka, kafkajs"),
        Partitioner("crc32", librdkafka_partition, "consistent", "librdkafka and kcat"),
        Partitioner("fnv1a", fnv1a_partition, "fnv1a", "sarama"),
    )
}
"""Known partitioners by name."""


def partitioner_of(pipeline: Pipeline) -> Partitioner:
    """Return the partitioner f of a pipeline: that of its direct source, else murmur2."""
    source = direct_source(pipeline)
    name = source.partitioner if source is not None else None
    return PARTITIONERS[name or "murmur2"]
