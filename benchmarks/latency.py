"""From `produce` to what a reader of committed records gets, at a steady rate."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer

from benchmarks.cluster import Records
from benchmarks.contenders import CONTENDERS, Race, running, topics
from benchmarks.figures import Figures, percentile
from benchmarks.observe import FAILURES, BenchmarkError, Say, check_running
from benchmarks.report import Part, Row, Table
from benchmarks.steady import Sender, outcome_reader

WARM_SECONDS = 5.0  # after the first outcome, before anything counts
LOST_SECONDS = 10.0  # after which an event that has no outcome is behind hopelessly
START_SECONDS = 60.0  # until the first outcome


class Case(NamedTuple):
    """Who, how many events per second, and for ours how often it commits."""

    contender: str
    rate: int
    commit_ms: int = 100

    def __str__(self) -> str:
        commits = (
            f", commits every {self.commit_ms} ms"
            if self.contender in ("ours", "transactional")
            else ""
        )
        return f"{self.contender}{commits}"


OURS = [Case("ours", 1000), Case("ours", 1000, 20), Case("ours", 5000), Case("ours", 5000, 20)]
CASES = [*OURS, *(Case(name, 1000) for name in CONTENDERS[1:])]
COLUMNS = ("4 partitions, 1 worker", "events/s", "p50 ms", "p99 ms", "largest ms")
RATES = sorted({case.rate for case in CASES})
TARGETS = {
    OURS[0]: "latency at 1,000/s, p99",
    OURS[1]: "latency at 1,000/s, 20 ms interval, p99",
    OURS[2]: "latency at 5,000/s, p99",
}


def measure(
    servers: str, folder: Path, records: Records, cases: list[Case], seconds: float, say: Say
) -> Iterator[Part]:
    """Every case once, for so many seconds; what is known after each."""
    rows: list[Row] = []
    figures: Figures = {}
    for number, case in enumerate(cases):
        race = Race(servers, folder, f"latency-{number}-{case.contender}", commit_ms=case.commit_ms)
        try:
            milliseconds = run(race, case, records, seconds)
        except FAILURES as error:
            say(str(error))
            rows.append((str(case), f"{case.rate:,}", "does not keep up", "", ""))
        else:
            middle, tail, largest = (percentile(milliseconds, share) for share in (0.5, 0.99, 1.0))
            rows.append(
                (
                    str(case),
                    f"{case.rate:,}",
                    *(f"{value:,.0f}" for value in (middle, tail, largest)),
                )
            )
            say(f"{case} at {case.rate:,}/s: p50 {middle:.0f} ms, p99 {tail:.0f} ms")
            name = TARGETS.get(case, f"latency at {case.rate:,}/s, {case}, p99")
            figures |= {name: [tail], f"{name.removesuffix('p99')}p50": [middle]}
        yield Part([Table("Latency", COLUMNS, list(rows))], dict(figures))


def run(race: Race, case: Case, records: Records, seconds: float) -> list[float]:
    """Milliseconds of every event that was sent in `seconds` after the warm-up."""
    with topics(race), running(race, case.contender) as processes:
        reader = outcome_reader(race)
        sender = Sender(race, records, case.rate)
        try:
            return _follow(reader, sender, seconds, lambda: check_running(processes))
        finally:
            sender.stop()
            reader.close()


def _follow(
    reader: Consumer, sender: Sender, seconds: float, check: Callable[[], None]
) -> list[float]:
    """Read outcomes until every event of the time that counts has its own."""
    received: dict[bytes, float] = {}
    deadline = time.monotonic() + START_SECONDS
    while not received:
        _read(reader, received)
        check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"no outcome after {START_SECONDS:.0f} s")
    sender.hurry()
    begin = time.monotonic() + WARM_SECONDS
    end = begin + seconds
    while time.monotonic() < end:
        _read(reader, received)
    check()
    counted = [key for key, at in dict(sender.sent).items() if begin <= at < end]
    missing = {key for key in counted if key not in received}
    while missing:
        missing.discard(_read(reader, received))
        if time.monotonic() > end + LOST_SECONDS:
            raise BenchmarkError(f"{len(missing):,} of {len(counted):,} had no outcome")
    return [(received[key] - sender.sent[key]) * 1000 for key in counted]


def _read(reader: Consumer, received: dict[bytes, float]) -> bytes:
    """The key of one outcome, empty after a tenth of a second without."""
    message = reader.poll(0.1)
    if message is None or message.error() is not None:
        return b""
    key: bytes = message.key()
    received.setdefault(key, time.monotonic())
    return key
