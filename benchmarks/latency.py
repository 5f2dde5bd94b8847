"""Latency from `produce` to a reader of committed records, at a constant rate."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer

from benchmarks.cluster import Records
from benchmarks.contenders import CONTENDERS, RunConfig, running_contender, topics
from benchmarks.figures import Figures, percentile
from benchmarks.observe import FAILURES, BenchmarkError, Progress, check_running
from benchmarks.report import Report, Row, Table
from benchmarks.steady import Sender, outcome_reader

# Events are measured from this time after the first outcome.
WARM_UP_SECONDS = 5.0
# An event without an outcome after this time counts as lost.
LOST_SECONDS = 10.0
# The first outcome has to arrive within this time.
START_SECONDS = 60.0


class Case(NamedTuple):
    """Contender, events per second, and commit interval in milliseconds if it has one."""

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
    servers: str,
    folder: Path,
    records: Records,
    cases: list[Case],
    seconds: float,
    progress: Progress,
) -> Iterator[Report]:
    """Runs every case once for `seconds`; yields the results so far after each."""
    rows: list[Row] = []
    figures: Figures = {}
    for number, case in enumerate(cases):
        config = RunConfig(
            servers, folder, f"latency-{number}-{case.contender}", commit_ms=case.commit_ms
        )
        try:
            milliseconds = run(config, case, records, seconds)
        except FAILURES as error:
            progress(str(error))
            rows.append((str(case), f"{case.rate:,}", "does not keep up", "", ""))
        else:
            p50, p99, maximum = (percentile(milliseconds, share) for share in (0.5, 0.99, 1.0))
            rows.append(
                (
                    str(case),
                    f"{case.rate:,}",
                    *(f"{value:,.0f}" for value in (p50, p99, maximum)),
                )
            )
            progress(f"{case} at {case.rate:,}/s: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
            name = TARGETS.get(case, f"latency at {case.rate:,}/s, {case}, p99")
            figures |= {name: [p99], f"{name.removesuffix('p99')}p50": [p50]}
        yield Report([Table("Latency", COLUMNS, list(rows))], dict(figures))


def run(config: RunConfig, case: Case, records: Records, seconds: float) -> list[float]:
    """Returns the latencies in milliseconds of all events sent in `seconds` after the warm-up."""
    with topics(config), running_contender(config, case.contender) as processes:
        reader = outcome_reader(config)
        sender = Sender(config, records, case.rate)
        try:
            return _follow(reader, sender, seconds, lambda: check_running(processes))
        finally:
            sender.stop()
            reader.close()


def _follow(
    reader: Consumer, sender: Sender, seconds: float, check: Callable[[], None]
) -> list[float]:
    """Reads outcomes until every measured event has one."""
    received: dict[bytes, float] = {}
    deadline = time.monotonic() + START_SECONDS
    while not received:
        _read(reader, received)
        check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"no outcome after {START_SECONDS:.0f} s")
    sender.start_full_rate()
    begin = time.monotonic() + WARM_UP_SECONDS
    end = begin + seconds
    while time.monotonic() < end:
        _read(reader, received)
    check()
    counted = [key for key, at in dict(sender.sent).items() if begin <= at < end]
    missing = {key for key in counted if key not in received}
    while missing:
        missing.discard(_read(reader, received))
        if time.monotonic() > end + LOST_SECONDS:
            raise BenchmarkError(f"{len(missing):,} of {len(counted):,} events had no outcome")
    return [(received[key] - sender.sent[key]) * 1000 for key in counted]


def _read(reader: Consumer, received: dict[bytes, float]) -> bytes:
    """Returns the key of the next outcome, empty if none arrives within 0.1 s."""
    message = reader.poll(0.1)
    if message is None or message.error() is not None:
        return b""
    key: bytes = message.key()
    received.setdefault(key, time.monotonic())
    return key
