"""CPU of the core per event, of several builds in turn: `python -m benchmarks.core TREE ...`.

Each TREE is a checkout of the project, such as a `git worktree` of an earlier commit. Each round
runs the same flights through the core of every build, each in a process of its own: scored without
cleaning (the pipeline of `make bench`), scored with the cleaning of the example, only read as the
example declares, and read as a source forwards them, with more and more renamed paths. The figures
are CPU time and medians of the rounds. Builds with the same results have the same digest.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import orjson

# Unix milliseconds, later than all events.
NOW = 2**53
HORIZON_MS = 36 * 3_600_000
BATCH_RECORDS = 500
REPEATS = 3
# Numbers of renamed paths.
RENAMED = (0, 4, 8, 12)


def main() -> None:
    """Prints the figures of every build, and their ratios to the first one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trees", nargs="*", type=Path, default=[Path.cwd()], metavar="TREE")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the comparison")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps({"core": core(), "cases": dict(cases())}))
        return
    rounds = []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        rounds.append([run(tree) for tree in options.trees])
    for tree, first in zip(options.trees, rounds[0], strict=True):
        print(f"core {first['core']}: {tree}")
    for name in rounds[0][0]["cases"]:
        print(name)
        for number, tree in enumerate(options.trees):
            times = [found[number]["cases"][name]["seconds"] for found in rounds]
            base = [found[0]["cases"][name]["seconds"] for found in rounds]
            ratios = [time / first for time, first in zip(times, base, strict=True)]
            print(
                f"  {median(times) * 1e6:6.1f} us  {median(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f})  "
                f"{rounds[0][number]['cases'][name]['digest']}  {tree}"
            )
    for number, tree in enumerate(options.trees):
        print_paths([found[number]["cases"] for found in rounds], tree)


def print_paths(rounds: list[dict[str, Any]], tree: Path) -> None:
    """Prints the share of the reader's time that each renamed path costs; of old builds nothing."""
    if from_source(0) not in rounds[0]:
        return
    for count in RENAMED[1:]:
        shares = [
            (found[from_source(count)]["seconds"] / found[from_source(0)]["seconds"] - 1) / count
            for found in rounds
        ]
        print(
            f"each of {count} renamed paths: {median(shares):.1%} "
            f"({min(shares):.1%} to {max(shares):.1%})  {tree}"
        )


def from_source(count: int) -> str:
    """Returns the name of the case with a number of renamed paths."""
    return f"read from a source, {count} renamed paths"


def run(tree: Path) -> dict[str, Any]:
    """Returns the figures of one process with the build of a tree."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--once"],
        env=os.environ | {"PYTHONPATH": str(tree)},
        cwd=tree,
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures


def core() -> str:
    """Returns which core the build runs; earlier builds were interpreted."""
    try:
        from stream_app.compiled_core import core_state
    except ImportError:
        return "interpreted"
    return core_state()


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields name and figures of the cases, of the build that is imported."""
    from benchmarks.peers import ours  # the build under test
    from stream_app.examples.flights import CLEAN
    from stream_app.examples.nycflights import read_flights
    from stream_app.loading import load_pipeline
    from stream_app.records import Record

    flights = read_flights(datetime(2013, 1, 1), datetime(2013, 1, 15))
    records = [
        Record(
            "flights.raw", 0, 0, 0, flight.event["event_id"].encode(), orjson.dumps(flight.event)
        )
        for flight in flights
    ]
    plain = ours.make("flights")
    yield "scored, without cleaning", score(plain, records)
    yield "scored, with the example's 12 steps", score(replace(plain, clean=CLEAN), records)
    example = load_pipeline("flights")
    yield "read, as the example declares", read(example, records)
    if not hasattr(example, "sources"):  # a build from before sources
        return
    from stream_app.sources import Source

    events = [flight.event for flight in flights]
    for number in RENAMED:
        paths = {name: f"flight.{name}_sent" for name in list(events[0])[:number]}
        source = Source(topic="flights", start="earliest", fields=paths)
        pipeline = replace(example, sources=(source,))
        yield (
            from_source(number),
            read(pipeline, [forwarded(event, paths, source) for event in events]),
        )


def forwarded(event: dict[str, Any], paths: dict[str, str], source: Any) -> Any:
    """Returns the record of an event that has some of its fields in a nested record."""
    from stream_app.headers import SOURCE
    from stream_app.records import Record

    nested = {path.partition(".")[2]: event[name] for name, path in paths.items()}
    value = {name: content for name, content in event.items() if name not in paths}
    value |= {"flight": nested} if nested else {}
    headers = [(SOURCE, b"%b/0/0/0" % source.source_name.encode())]
    return Record("flights.raw", 0, 0, 0, event["event_id"].encode(), orjson.dumps(value), headers)


def read(pipeline: Any, records: list[Any]) -> dict[str, Any]:
    """Returns the seconds per event and the digest of the events that the reader returns."""
    from stream_app.core.reading.record_reader import EventReader

    reader = EventReader(pipeline)
    return timed(lambda: [[reader.read(record, NOW) for record in records]], len(records))


def score(pipeline: Any, records: list[Any]) -> dict[str, Any]:
    """Returns the seconds per event and the digest of the outputs."""
    from benchmarks.peers.work import trained_model
    from stream_app.core.evaluation.prediction_tasks import BinaryTask
    from stream_app.core.scoring.partition_state import PartitionState
    from stream_app.core.scoring.scorer import Scorer, ScorerConfig
    from stream_app.model_store.model_loading import LoadedModel

    model = LoadedModel("flights", 1, "", trained_model(), BinaryTask(), frozen=True)
    config = ScorerConfig(
        fingerprint="", group="", app_version="", max_bytes=2**20, max_entries=2**20
    )

    def run_once() -> list[list[Any]]:
        state = PartitionState(0, HORIZON_MS, HORIZON_MS)
        scorer = Scorer(pipeline, config, state, perf_counter)
        return [
            scorer.score(records[start : start + BATCH_RECORDS], model, NOW)
            for start in range(0, len(records), BATCH_RECORDS)
        ]

    return timed(run_once, len(records))


def timed(work: Callable[[], list[list[Any]]], count: int) -> dict[str, Any]:
    """Returns the least CPU time per event of some calls, and the digest of their results."""
    seconds = []
    for _ in range(REPEATS):
        started = process_time()
        results = work()
        seconds.append(process_time() - started)
    digest = hashlib.sha256()
    for batch in results:
        for result in batch:
            digest.update(repr(tuple(result)).encode())
    return {"seconds": min(seconds) / count, "digest": digest.hexdigest()[:16]}


if __name__ == "__main__":
    main()
