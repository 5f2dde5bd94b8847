"""Partitioners: the values of Kafka's, librdkafka's and sarama's own tests."""

import pytest
from confluent_kafka import Producer

from stream_app.kafka.partitioner import (
    PARTITIONERS,
    fnv1a_partition,
    java_partition,
    librdkafka_partition,
    partitioner_of,
)
from stream_app.sources import Source
from tests.small_pipeline import small_pipeline

LONG = b"this is another string with more length to it perhaps"


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
        (b"", 0x106E08D9),
        (b"23456", 0x058D780F),
        (LONG, 0x4F7703DA),
        (b"hejsan", 0x5EC19395),
    ],
)
def test_murmur2_is_that_of_kafka_and_librdkafka(key: bytes, digest: int) -> None:
    for partitions in (1, 2, 6, 100, 2**31):
        assert java_partition(key, partitions) == (digest & 0x7FFFFFFF) % partitions


@pytest.mark.parametrize(
    ("key", "crc32", "fnv1a"),
    [
        (b"23456", 0xB1B451D7, 0x27E6F469),
        (LONG, 0xB0150DF7, 0x155E3E5F),
        (b"hejsan", 0xD077037E, 0x17B1E27A),
        (b"", 0, 0x7EE3623B),
    ],
)
def test_crc32_and_fnv1a_are_those_of_librdkafka(key: bytes, crc32: int, fnv1a: int) -> None:
    for partitions in (1, 2, 6, 100, 2**31):
        assert librdkafka_partition(key, partitions) == crc32 % partitions
        # The absolute value of a signed number, as in sarama.
        assert fnv1a_partition(key, partitions) == fnv1a % partitions


def test_librdkafka_knows_every_option() -> None:
    for one in PARTITIONERS.values():
        for option in (one.option, one.producer_option):
            Producer({"partitioner": option})


def test_the_partitioner_of_a_pipeline_is_that_of_its_direct_source() -> None:
    def named(**changes: object) -> str:
        source = Source(topic="shop", start="earliest", **changes)  # type: ignore[arg-type]
        return partitioner_of(small_pipeline(sources=(source,))).name

    assert partitioner_of(small_pipeline()).name == "murmur2"
    assert named() == named(direct=True) == "murmur2"
    assert named(direct=True, partitioner="fnv1a") == "fnv1a"
