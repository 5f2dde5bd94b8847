"""Observes a contender from outside: visible outcomes, CPU time and memory over time."""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from subprocess import Popen
from typing import NamedTuple

import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

POLL_SECONDS = 0.05
# A run is complete when no outcome has arrived for this time.
IDLE_SECONDS = 1.0
MAX_RUN_SECONDS = 120.0
# Shares of the outcomes between which throughput is measured.
BEGIN, END = 0.2, 0.9

Progress = Callable[[str], None]
"""Prints a progress message."""


class BenchmarkError(Exception):
    """Raised when a contender fails; the message says which and how."""


FAILURES = (BenchmarkError, KafkaException, psutil.Error, RuntimeError, TimeoutError)
"""Errors that end one run; the other runs continue."""


class Sample(NamedTuple):
    """Observation at a time in seconds: end offset of each partition, CPU seconds used so far."""

    at: float
    ends: tuple[int, ...]
    cpu: float


class OutcomeCounts(NamedTuple):
    """All outcomes of a run: offsets of each partition in order, and the number of events."""

    offsets: tuple[list[int], ...]
    events: int

    @property
    def records(self) -> int:
        return sum(map(len, self.offsets))

    def before(self, ends: Sequence[int]) -> int:
        """Returns the number of records below these end offsets, without transaction markers."""
        return sum(
            bisect_left(offsets, end) for offsets, end in zip(self.offsets, ends, strict=True)
        )


class Throughput(NamedTuple):
    """Events per second, and CPU microseconds per event of all processes together."""

    rate: float
    cpu: float

    @property
    def cores(self) -> float:
        """Average number of busy cores."""
        return self.rate * self.cpu / 1e6


def compute_throughput(samples: Sequence[Sample], counted: OutcomeCounts) -> Throughput:
    """Returns the throughput between 20 % and 90 % of the outcomes.

    That excludes the start, the filling of buffers, and the tail of the last partition.

    Raises:
        BenchmarkError: all outcomes became visible at once.
    """
    counts = [counted.before(sample.ends) for sample in samples]
    first, last = (bisect_left(counts, share * counted.records) for share in (BEGIN, END))
    events, seconds = counts[last] - counts[first], samples[last].at - samples[first].at
    if not events or not seconds:
        raise BenchmarkError(
            "all outcomes became visible at once: too few records to measure anything"
        )
    return Throughput(events / seconds, (samples[last].cpu - samples[first].cpu) / events * 1e6)


def sample_outcomes(
    ends: Callable[[], tuple[int, ...]], count: int, processes: list[Popen[bytes]]
) -> list[Sample]:
    """Samples `ends` until they add up to `count` and no longer change."""
    watched = [psutil.Process(process.pid) for process in processes]
    samples: list[Sample] = []
    deadline, changed = time.monotonic() + MAX_RUN_SECONDS, time.monotonic()
    while not (
        samples and sum(samples[-1].ends) >= count and time.monotonic() - changed > IDLE_SECONDS
    ):
        check_running(processes)
        if time.monotonic() > deadline:
            found = sum(samples[-1].ends) if samples else 0
            raise BenchmarkError(
                f"only {found:,} of {count:,} outcomes after {MAX_RUN_SECONDS:.0f} s"
            )
        now = ends()
        if not samples or now != samples[-1].ends:
            changed = time.monotonic()
            samples.append(Sample(changed, now, cpu_seconds(watched)))
        time.sleep(POLL_SECONDS)
    return samples


def check_running(processes: list[Popen[bytes]]) -> None:
    """Raises `BenchmarkError` if a process has exited."""
    for process in processes:
        if process.poll() is not None:
            raise BenchmarkError(f"a process exited with code {process.returncode}")


def wait_until(
    condition: Callable[[], object], processes: list[Popen[bytes]], seconds: float = 60.0
) -> None:
    """Waits until a condition holds while processes run."""
    deadline = time.monotonic() + seconds
    while not condition():
        check_running(processes)
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not ready after {seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Returns user and system CPU seconds of processes."""
    times = [process.cpu_times() for process in processes]
    return float(sum(one.user + one.system for one in times))


def largest_memory(processes: list[Popen[bytes]]) -> float:
    """Returns the resident memory of the largest process in MB."""
    return max(psutil.Process(process.pid).memory_info().rss for process in processes) / 1e6


def count_outcomes(servers: str, partitions: list[TopicPartition]) -> OutcomeCounts:
    """Reads every committed outcome once."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "count",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    places = {(one.topic, one.partition): number for number, one in enumerate(partitions)}
    offsets: tuple[list[int], ...] = tuple([] for _ in partitions)
    keys: set[bytes] = set()
    consumer.assign([TopicPartition(one.topic, one.partition, 0) for one in partitions])
    unread = set(places)
    while unread:
        for message in consumer.consume(10_000, 0.1):
            place = (message.topic(), message.partition())
            if message.error() is None:
                offsets[places[place]].append(message.offset())
                keys.add(message.key())
            elif message.error().code() == KafkaError._PARTITION_EOF:
                unread.discard(place)
    consumer.close()
    return OutcomeCounts(offsets, len(keys))
