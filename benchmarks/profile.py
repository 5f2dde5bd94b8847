"""CPU per event of a running scorer, by thread and by stage: `make bench ARGS=profile`. Linux only.

Threads are read from /proc while the worker works through a loaded topic. The stages of the core are timed one by one
over the same records, in one thread; what its threads take beyond that is receiving, producing and committing.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from statistics import median
from time import perf_counter

import orjson

from benchmarks.cluster import Ends, Records, preload
from benchmarks.contenders import Race, logged, start_ours, stop, topics
from benchmarks.observe import BEGIN, END, Say, until
from benchmarks.peers.ours import make
from benchmarks.peers.work import numbers, trained_model
from benchmarks.report import Part, Table
from benchmarks.stages import drop, seconds
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.reading.record_reader import EventReader
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.loading import complete
from stream_app.model_store.model_loading import LoadedModel
from stream_app.pipeline import Pipeline
from stream_app.records import Record

NOW = 1_700_000_000_000  # epoch milliseconds, after all flights
HOUR = 3_600_000
BATCH = 100
SAMPLE = 20_000  # records that the stages are timed over
ROUNDS = 3

THREADS = {
    "Task": "the task: the core, producing, transactions",
    "WorkerThread": "Faust's consumer thread: fetching, heartbeats",
    "python": "main thread: Faust's agents",
    "rdk": "librdkafka: batches, compression, sockets",
}
OTHERS = "other threads"


def measure(servers: str, folder: Path, records: Records, say: Say) -> Iterator[Part]:
    """Both views of the same work."""
    threads = by_thread(Race(servers, folder, "profile"), records)
    say("threads are read, stages come next")
    stages = by_stage(records[:SAMPLE])
    tasks = threads.get(THREADS["Task"], 0.0)
    outside = ("task: taking batches, produce, transactions", tasks - stages.pop("all of it"))
    yield Part(
        [
            _table(
                "CPU of a scorer by thread",
                "4 partitions, 1 worker",
                sorted(threads.items(), key=itemgetter(1), reverse=True),
            ),
            _table(
                "CPU of the task by stage", "timed alone, in one thread", [*stages.items(), outside]
            ),
        ],
        {f"CPU µs/event, {name}": [value] for name, value in (threads | stages).items()},
    )


def by_thread(race: Race, records: Records) -> dict[str, float]:
    """Microseconds per event, between 20 % and 90 % of the outcomes."""
    count = len(records)
    with topics(race), logged(race, "ours") as log:
        preload(race.servers, race.raw, records)
        ends = Ends(race.servers, race.outputs)
        workers = start_ours(race, log, program="benchmarks.named_threads")
        try:
            until(lambda: sum(ends.now()) > BEGIN * count, workers)
            first, before = sum(ends.now()), thread_seconds(workers[0].pid)
            until(lambda: sum(ends.now()) > END * count, workers)
            last, after = sum(ends.now()), thread_seconds(workers[0].pid)
        finally:
            stop(workers)
    return {
        name: (used - before.get(name, 0.0)) / (last - first) * 1e6 for name, used in after.items()
    }


def thread_seconds(pid: int) -> dict[str, float]:
    """CPU seconds so far of a process's threads, by what they are for."""
    used: dict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
            fields = rest.split()
            kind = THREADS.get(name.partition(":")[0], OTHERS)
            used[kind] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def by_stage(records: Records) -> dict[str, float]:
    """Microseconds per event of each stage of the core; medians."""
    pipeline = complete(make("profile"))
    raw = [Record("profile.raw", 0, offset, 0, *record) for offset, record in enumerate(records)]
    rounds = [_time_stages(pipeline, raw) for _ in range(ROUNDS)]
    return {name: median(found[name] for found in rounds) for name in rounds[0]}


def _time_stages(pipeline: Pipeline, records: list[Record]) -> dict[str, float]:
    reader, model = (
        EventReader(pipeline),
        LoadedModel("profile", 0, "", trained_model(), BinaryTask(), frozen=True),
    )
    whole_ones = [
        record.value for record in records if record.value and record.value.endswith(b"}")
    ]
    flights = [orjson.loads(value) for value in whole_ones]
    features = [numbers(flight) for flight in flights]
    horizon = int(pipeline.label.horizon.total_seconds() * 1000)
    state = PartitionState(0, horizon=horizon, lateness=HOUR)
    config = ScorerConfig(
        fingerprint="", group="", app_version="", max_bytes=2**20, max_entries=10**6
    )
    scorer = Scorer(pipeline, config, state, perf_counter)
    batches = [records[start : start + BATCH] for start in range(0, len(records), BATCH)]
    decoding = seconds(lambda: drop(map(orjson.loads, whole_ones)))
    computing = seconds(lambda: drop(map(numbers, flights)))
    reading = seconds(lambda: drop(reader.read(record, NOW) for record in records))
    predicting = seconds(lambda: drop(map(model.score, features)))
    whole = seconds(lambda: drop(scorer.score(batch, model, NOW) for batch in batches))
    stages = {
        "decode JSON": decoding,
        "validate, key, clean, time": reading - decoding - computing,
        "the pipeline's features": computing,
        "predict (River)": predicting,
        "identity, state, encode the outcome": whole - reading - predicting,
        "all of it": whole,
    }
    return {name: spent / len(records) * 1e6 for name, spent in stages.items()}


def _table(title: str, condition: str, rows: Sequence[tuple[str, float]]) -> Table:
    total = sum(value for _, value in rows)
    cells = [
        (name, f"{value:.1f}", f"{value / total:.0%}")
        for name, value in [*rows, ("**sum**", total)]
    ]
    return Table(title, (condition, "CPU µs/event", "share"), cells)
