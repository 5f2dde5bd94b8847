"""What producers do: whether a key's events and labels meet in one partition."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok, problem, skipped
from stream_app.kafka.partitioner import java_partition, librdkafka_partition

SAMPLE = 500  # newest records of a topic


class Keyed(NamedTuple):
    """Where a record was put."""

    key: bytes | None
    partition: int


def check_partitioner(it: DoctorContext) -> Iterator[CheckResult]:
    """The newest events and labels lie where Java's partitioner puts their keys."""
    for kind in ("raw", "labels"):
        limits = it.view.of(it.limits, kind)
        if not limits:
            continue
        each = max(1, SAMPLE // len(limits))
        newest = {place: (max(low, end - each), end) for place, (low, end) in limits.items()}
        sample = [
            Keyed(message.key(), message.partition() or 0)
            for message in it.view.tail.between(newest)
        ]
        yield from judge_keys(it.view.topic(kind), sample, len(limits))


def judge_keys(topic: str, sample: Sequence[Keyed], partitions: int) -> Iterator[CheckResult]:
    """Keys that are missing, and keys in the wrong partition, among the records of a sample."""
    keyed = [(record.key, record.partition) for record in sample if record.key is not None]
    if not sample:
        yield skipped(f"{topic} has no record to judge its producers by")
        return
    if len(keyed) < len(sample):
        yield problem(
            f"{len(sample) - len(keyed)} of the {len(sample)} newest records of {topic} have no key",
            "Let producers send the text of the key field as key; these records are dead letters `missing-key`",
        )
    wrong = [
        (key, partition) for key, partition in keyed if java_partition(key, partitions) != partition
    ]
    if wrong:
        crc = all(librdkafka_partition(key, partitions) == partition for key, partition in wrong)
        guess = (
            "they lie where librdkafka's own partitioner puts them"
            if crc
            else "and not where librdkafka's does"
        )
        yield problem(
            f"{len(wrong)} of the {len(sample)} newest records of {topic} are not in the partition that Java's "
            f"partitioner chooses: {guess}",
            "Set partitioner=murmur2_random in producers that use librdkafka; or did the topic get more partitions?",
        )
    elif keyed and partitions > 1:
        yield ok(f"{topic}: the {len(keyed)} newest keys are where Java's partitioner puts them")
    elif keyed:
        yield ok(f"{topic}: has one partition, so keys cannot go astray")
