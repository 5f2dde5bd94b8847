"""Where producers put a key: Java's partitioner, and the one that librdkafka uses unless told otherwise."""

import zlib

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_M = 0x5BD1E995


def java_partition(key: bytes, partitions: int) -> int:
    """As Java's producer and `partitioner=murmur2_random` of librdkafka choose it.

    >>> java_partition(b"kafka", 12), java_partition(b"", 12)
    (4, 9)
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def librdkafka_partition(key: bytes, partitions: int) -> int:
    """As `partitioner=consistent_random` of librdkafka, its default, chooses it."""
    return zlib.crc32(key) % partitions


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 with Kafka's seed, as an unsigned number of 32 bits.

    >>> hex(murmur2(b"21"))
    '0xc5f2f8ec'
    """
    length = len(data)
    whole = length - length % 4
    h = _SEED ^ length
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        h = (h * _M & _MASK) ^ ((k ^ (k >> 24)) * _M & _MASK)
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)
