"""Partition of a key, as producers choose it."""

import zlib

from aiokafka.partitioner import murmur2


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
"""Partition of an output that librdkafka places by its key, as `java_partition` does."""

WRITER_PARTITIONER = "murmur2"
"""Partitioner of librdkafka that places keys as `java_partition` does."""
