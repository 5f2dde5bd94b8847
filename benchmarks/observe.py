"""How many outcomes were visible when, seen from outside: the same look at every contender, and exact."""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from subprocess import Popen
from typing import NamedTuple

import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

LOOK_SECONDS = 0.05
SILENT_SECONDS = 1.0  # after which no more outcomes come
LONGEST_SECONDS = 120.0  # for one run
BEGIN, END = 0.2, 0.9  # of the outcomes, between which time is taken

Say = Callable[[str], None]
"""Tells the person who waits."""


class BenchmarkError(Exception):
    """A contender did not do its work; the message says which and how."""


FAILURES = (BenchmarkError, KafkaException, psutil.Error, RuntimeError, TimeoutError)
"""What ends one turn or one part of the suite; the others go on."""


class Look(NamedTuple):
    """At a moment (seconds), where the committed outcomes ended in each partition, and the CPU seconds used so far."""

    at: float
    ends: tuple[int, ...]
    cpu: float


class Counted(NamedTuple):
    """What there was in the end: offsets of each partition's records in order, and how many events they are of."""

    offsets: tuple[list[int], ...]
    events: int

    @property
    def records(self) -> int:
        return sum(map(len, self.offsets))

    def before(self, ends: Sequence[int]) -> int:
        """Records below these ends; markers of transactions are not counted."""
        return sum(
            bisect_left(offsets, end) for offsets, end in zip(self.offsets, ends, strict=True)
        )


class Pace(NamedTuple):
    """Events per second, and CPU microseconds per event of all processes of a contender together."""

    rate: float
    cpu: float

    @property
    def cores(self) -> float:
        """How many it kept busy."""
        return self.rate * self.cpu / 1e6


def pace(looks: Sequence[Look], counted: Counted) -> Pace:
    """Between 20 % and 90 % of the outcomes: starting, filling of buffers and the last partition's tail stay out."""
    counts = [counted.before(look.ends) for look in looks]
    first, last = (bisect_left(counts, share * counted.records) for share in (BEGIN, END))
    events, seconds = counts[last] - counts[first], looks[last].at - looks[first].at
    if not events or not seconds:
        raise BenchmarkError(
            "all outcomes became visible at once: too few records to measure anything"
        )
    return Pace(events / seconds, (looks[last].cpu - looks[first].cpu) / events * 1e6)


def watch(
    ends: Callable[[], tuple[int, ...]], count: int, processes: list[Popen[bytes]]
) -> list[Look]:
    """Look at `ends` until they add up to `count` and change no more."""
    watched = [psutil.Process(process.pid) for process in processes]
    looks: list[Look] = []
    deadline, changed = time.monotonic() + LONGEST_SECONDS, time.monotonic()
    while not (
        looks and sum(looks[-1].ends) >= count and time.monotonic() - changed > SILENT_SECONDS
    ):
        check_running(processes)
        if time.monotonic() > deadline:
            found = sum(looks[-1].ends) if looks else 0
            raise BenchmarkError(
                f"only {found:,} of {count:,} outcomes after {LONGEST_SECONDS:.0f} s"
            )
        now = ends()
        if not looks or now != looks[-1].ends:
            changed = time.monotonic()
            looks.append(Look(changed, now, cpu_seconds(watched)))
        time.sleep(LOOK_SECONDS)
    return looks


def check_running(processes: list[Popen[bytes]]) -> None:
    """Raise if one has ended."""
    for process in processes:
        if process.poll() is not None:
            raise BenchmarkError(f"it ended with {process.returncode}")


def until(
    condition: Callable[[], object], processes: list[Popen[bytes]], seconds: float = 60.0
) -> None:
    """Wait until something holds while processes run."""
    deadline = time.monotonic() + seconds
    while not condition():
        check_running(processes)
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not ready after {seconds:.0f} s")
        time.sleep(LOOK_SECONDS)


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system time of processes."""
    times = [process.cpu_times() for process in processes]
    return float(sum(one.user + one.system for one in times))


def largest_memory(processes: list[Popen[bytes]]) -> float:
    """Resident memory of the largest process, in MB."""
    return max(psutil.Process(process.pid).memory_info().rss for process in processes) / 1e6


def count_outcomes(servers: str, partitions: list[TopicPartition]) -> Counted:
    """Read every committed outcome once."""
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
    return Counted(offsets, len(keys))
