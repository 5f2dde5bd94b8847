"""Events per second of six stream processors at the same work: `make bench`, with `ARGS=--help` for more.

The raw topic is loaded before a contender starts. Contenders run in turn, in several rounds; figures are medians. What
is counted begins with the first outcome and ends with the last, so starting costs nothing; each outcome is a committed
record of the scored or the dead-letter topic.
"""

import argparse
import sys
import time
from statistics import median
from subprocess import Popen
from typing import NamedTuple

import psutil

from benchmarks.cluster import Ends, Records, delete, flights, preload, running_broker
from benchmarks.contenders import CONTENDERS, SLOW, Race, make_topics, start

WAIT = 0.02  # seconds between two looks at the outcomes
LONGEST = 300.0  # seconds for one run


class Result(NamedTuple):
    """Events per second, CPU microseconds per event of all its processes, and the largest memory of one in MB."""

    rate: float
    cpu: float
    memory: float


def main() -> None:
    """Print the table."""
    options = parse()
    results: dict[str, list[Result]] = {name: [] for name in options.only}
    with running_broker() as (servers, folder):
        records = flights(options.records)
        for number in range(options.rounds):
            for name in options.only:
                race = Race(servers, folder, f"bench-{number}-{name}", options.partitions, options.workers)
                result = run(race, name, records[: len(records) // SLOW.get(name, 1)])
                results[name].append(result)
                told = f"round {number} {name}: {result.rate:,.0f}/s {result.cpu:.1f} us {result.memory:.0f} MB"
                print(told, file=sys.stderr)
    report(results)


def run(race: Race, contender: str, records: Records) -> Result:
    """One contender's turn, on a raw topic of its own."""
    make_topics(race)
    preload(race.servers, race.raw, records)
    processes = start(race, contender)
    try:
        return measure(race, processes, len(records))
    finally:
        for process in processes:
            process.kill()
            process.wait()
        delete(race.servers, [race.raw, *race.outputs])


def measure(race: Race, processes: list[Popen[bytes]], count: int) -> Result:
    """From the first outcome to the last."""
    ends = Ends(race.servers, race.outputs)
    watched = [psutil.Process(process.pid) for process in processes]
    first = await_count(ends, 1, processes)
    started, used = time.monotonic(), cpu_seconds(watched)
    await_count(ends, count, processes)
    seconds, spent = time.monotonic() - started, cpu_seconds(watched) - used
    memory = max(process.memory_info().rss for process in watched)
    ends.close()
    return Result((count - first) / seconds, spent / (count - first) * 1e6, memory / 1e6)


def await_count(ends: Ends, count: int, processes: list[Popen[bytes]]) -> int:
    """Wait until there are so many outcomes; returns how many there are."""
    deadline = time.monotonic() + LONGEST
    while (found := ends.total()) < count:
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            raise RuntimeError(f"only {found} of {count} outcomes: it ended, or took longer than {LONGEST:.0f} s")
        time.sleep(WAIT)
    return found


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system time of processes with their children."""
    every = [one for process in processes for one in (process, *process.children(recursive=True))]
    return float(sum(one.cpu_times().user + one.cpu_times().system for one in every))


def report(results: dict[str, list[Result]]) -> None:
    """Medians with their range, and how many times as fast ours is."""
    ours = median(result.rate for result in results["ours"]) if "ours" in results else None
    for name, runs in results.items():
        rates = [result.rate for result in runs]
        print(
            f"{name:14} {median(rates):9,.0f}/s ({min(rates):,.0f} to {max(rates):,.0f})"
            f"  {median(result.cpu for result in runs):6.1f} us of CPU  {max(result.memory for result in runs):5.0f} MB"
            + (f"  ours / {name} {ours / median(rates):.2f}" if ours else "")
        )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
