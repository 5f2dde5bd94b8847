"""CPU per event of a scorer by thread and by stage: `make bench ARGS=profile`. Linux only.

Thread times come from /proc while the worker processes a preloaded topic. The stages of the core
are timed one by one over the same records in one thread. The rest of the task's time is receiving,
producing and committing.
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

from benchmarks.cluster import EndOffsets, Records, preload
from benchmarks.contenders import RunConfig, Setup, start_ours, stop, topics, worker_log
from benchmarks.observe import BEGIN, END, wait_until
from benchmarks.peers.ours import make
from benchmarks.peers.work import numbers, trained_model
from benchmarks.report import Report, Table
from benchmarks.stages import cpu_time, exhaust
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.reading.record_reader import EventReader
from stream_app.core.reading.typed_decoding import compile_fast_decoder
from stream_app.core.reading.validator import compile_validator
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.loading import complete
from stream_app.model_store.model_loading import LoadedModel
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Record

# Unix milliseconds, later than all flights.
NOW = 1_700_000_000_000
HOUR_MS = 3_600_000
BATCH_RECORDS = 100
# Number of records over which the stages are timed.
STAGE_RECORDS = 20_000
ROUNDS = 3

THREADS = {
    "StreamTask": "stream task: the core, producing, transactions",
    "WorkerThread": "Faust's consumer thread: fetching, heartbeats",
    "python": "main thread: Faust's agents",
    "rdk": "librdkafka: batches, compression, sockets",
}
OTHERS = "other threads"
WHOLE = "whole scorer"


def measure(setup: Setup, records: Records) -> Iterator[Report]:
    """Measures by thread and by stage."""
    threads = by_thread(setup.config("profile", "ours"), records)
    setup.progress("threads measured, measuring stages")
    stages = by_stage(records[:STAGE_RECORDS])
    tasks = threads.get(THREADS["StreamTask"], 0.0)
    outside = ("task: taking batches, produce, transactions", tasks - stages.pop(WHOLE))
    yield Report(
        [
            _table(
                "CPU of a scorer by thread",
                "4 partitions, 1 worker",
                sorted(threads.items(), key=itemgetter(1), reverse=True),
            ),
            _table(
                "CPU of the task by stage",
                "timed separately, in one thread",
                [*stages.items(), outside],
            ),
        ],
        {f"CPU µs/event, {name}": [value] for name, value in (threads | stages).items()},
    )


def by_thread(config: RunConfig, records: Records) -> dict[str, float]:
    """Returns CPU microseconds per event by thread, between 20 % and 90 % of the outcomes."""
    count = len(records)
    with topics(config), worker_log(config, "ours") as log:
        preload(config.servers, config.raw, records)
        ends = EndOffsets(config.servers, config.outputs)
        workers = start_ours(config, log, program="benchmarks.named_threads")
        try:
            wait_until(lambda: sum(ends.now()) > BEGIN * count, workers)
            first, before = sum(ends.now()), thread_seconds(workers[0].pid)
            wait_until(lambda: sum(ends.now()) > END * count, workers)
            last, after = sum(ends.now()), thread_seconds(workers[0].pid)
        finally:
            stop(workers)
    return {
        name: (used - before.get(name, 0.0)) / (last - first) * 1e6 for name, used in after.items()
    }


def thread_seconds(pid: int) -> dict[str, float]:
    """Returns the CPU seconds so far of a process's threads, by their purpose."""
    used: dict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{pid}/task").iterdir():
        # The thread may have ended.
        with suppress(OSError):
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
            fields = rest.split()
            kind = THREADS.get(name.partition(":")[0], OTHERS)
            used[kind] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def by_stage(records: Records) -> dict[str, float]:
    """Returns the median CPU microseconds per event of each stage of the core."""
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
    state = PartitionState(0, horizon=horizon, lateness=HOUR_MS)
    config = ScorerConfig(
        fingerprint="", group="", app_version="", max_bytes=2**20, max_entries=10**6
    )
    scorer = Scorer(pipeline, config, state, perf_counter)
    starts = range(0, len(records), BATCH_RECORDS)
    batches = [records[start : start + BATCH_RECORDS] for start in starts]
    schema = parsed(pipeline.schema)
    decode = compile_fast_decoder(schema, compile_validator(schema))
    decoding = cpu_time(lambda: exhaust(map(decode, whole_ones)))
    computing = cpu_time(lambda: exhaust(map(numbers, flights)))
    reading = cpu_time(lambda: exhaust(reader.read(record, NOW) for record in records))
    predicting = cpu_time(lambda: exhaust(map(model.score, features)))
    whole = cpu_time(lambda: exhaust(scorer.score(batch, model, NOW) for batch in batches))
    stages = {
        "decode and validate JSON": decoding,
        "key, clean, time, check features": reading - decoding - computing,
        "the pipeline's features": computing,
        "predict (River)": predicting,
        "identity, state, encode the outcome": whole - reading - predicting,
        WHOLE: whole,
    }
    return {name: spent / len(records) * 1e6 for name, spent in stages.items()}


def _table(title: str, condition: str, rows: Sequence[tuple[str, float]]) -> Table:
    total = sum(value for _, value in rows)
    cells = [
        (name, f"{value:.1f}", f"{value / total:.0%}")
        for name, value in [*rows, ("**sum**", total)]
    ]
    return Table(title, (condition, "CPU µs/event", "share"), cells)
