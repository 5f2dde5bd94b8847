"""Latency from `produce` to a reader of committed records, at a constant rate."""

import time
from collections.abc import Callable, Iterator

import psutil
from confluent_kafka import Consumer

from benchmarks.cluster import Records
from benchmarks.contenders import RunConfig, Setup, running_contender, topics
from benchmarks.figures import percentile
from benchmarks.latency_report import Case, Latency, Results, summary
from benchmarks.observe import FAILURES, BenchmarkError, check_running
from benchmarks.report import Report
from benchmarks.steady import Sender, outcome_reader

# Events are measured from this time after the first outcome.
WARM_UP_SECONDS = 5.0
# An event without an outcome after this time counts as lost.
LOST_SECONDS = 10.0
# The first outcome has to arrive within this time.
START_SECONDS = 60.0


def measure(setup: Setup, records: Records, cases: list[Case], seconds: float) -> Iterator[Report]:
    """Runs every case for `seconds` in every round; yields the results so far after each.

    A case that is compared with no other runs in the first round only.
    """
    results: Results = {case: {} for case in cases}
    failed: set[Case] = set()
    for number in range(setup.rounds):
        for index, case in enumerate(cases):
            if number and not case.is_compared:
                continue
            config = setup.config(f"latency-{number}-{index}", case.contender)
            try:
                found = run(config._replace(commit_ms=case.commit_ms), case, records, seconds)
            except FAILURES as error:
                setup.progress(str(error))
                failed.add(case)
            else:
                results[case][number] = found
                setup.progress(f"round {number + 1} of {setup.rounds}: {case}: {found}")
            yield summary(results, failed)


def run(config: RunConfig, case: Case, records: Records, seconds: float) -> Latency:
    """Returns the latency of all events sent in `seconds` after the warm-up."""
    with topics(config), running_contender(config, case.contender) as processes:
        reader = outcome_reader(config)
        sender = Sender(config, records, case.rate)
        try:
            return _follow(reader, sender, seconds, lambda: check_running(processes))
        finally:
            sender.stop()
            reader.close()


def _follow(reader: Consumer, sender: Sender, seconds: float, check: Callable[[], None]) -> Latency:
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
    while time.monotonic() < begin:
        _read(reader, received)
    # Of the machine, since the last call.
    psutil.cpu_times_percent()
    end = begin + seconds
    while time.monotonic() < end:
        _read(reader, received)
    cpu = psutil.cpu_times_percent()
    check()
    counted = [key for key, at in dict(sender.sent).items() if begin <= at < end]
    missing = {key for key in counted if key not in received}
    while missing:
        missing.discard(_read(reader, received))
        if time.monotonic() > end + LOST_SECONDS:
            raise BenchmarkError(f"{len(missing):,} of {len(counted):,} events had no outcome")
    milliseconds = [(received[key] - sender.sent[key]) * 1000 for key in counted]
    p50, p99, largest = (percentile(milliseconds, share) for share in (0.5, 0.99, 1.0))
    return Latency(p50, p99, largest, cpu.idle + getattr(cpu, "iowait", 0.0))


def _read(reader: Consumer, received: dict[bytes, float]) -> bytes:
    """Returns the key of the next outcome, empty if none arrives within 0.1 s."""
    message = reader.poll(0.1)
    if message is None or message.error() is not None:
        return b""
    key: bytes = message.key()
    received.setdefault(key, time.monotonic())
    return key
