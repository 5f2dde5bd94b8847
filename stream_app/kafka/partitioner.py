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


PLACED_BY_KEY = -1
"""Partition of an output that librdkafka places by its key, as `java_partition` does."""

WRITER_PARTITIONER = "murmur2"
"""Partitioner of librdkafka that places keys as `java_partition` does."""
