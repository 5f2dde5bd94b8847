"""CPU per event of the core's stages, and of learner and River loop: `python -m benchmarks.stages`.

Each figure is the median of five rounds. The loops that are compared run alternately.
"""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from statistics import median
from time import perf_counter, process_time

import orjson
from river import metrics

from benchmarks.peers import ours
from benchmarks.peers.work import score, trained_model
from stream_app.compiled_core import core_state
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.examples import Example
from stream_app.core.learning.learner import Learner
from stream_app.core.reading.avro_reader import compile_reader
from stream_app.core.reading.avro_writer import compile_writer
from stream_app.core.reading.decoding import Schemas
from stream_app.core.reading.record_reader import EventReader
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.examples.nycflights import read_flights
from stream_app.loading import load_pipeline
from stream_app.model_store.model_loading import LoadedModel
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Failure, Record

ROUNDS = 5
# Unix milliseconds, later than all events.
NOW = 2**53
HORIZON_MS = 36 * 3_600_000
BATCH_RECORDS = 500


def main() -> None:
    """Prints the figures."""
    print(f"core: {core_state()}")
    pipeline = load_pipeline("flights")
    flights = [
        flight
        for flight in read_flights(datetime(2013, 1, 1), datetime(2013, 1, 8))
        if flight.label
    ]
    records = [
        Record(
            "flights.raw", 0, 0, 0, flight.event["event_id"].encode(), orjson.dumps(flight.event)
        )
        for flight in flights
    ]
    reader = EventReader(pipeline)
    events = [
        event
        for event in (reader.read(record, NOW) for record in records)
        if not isinstance(event, Failure)
    ]
    examples = [
        Example(
            event.event_id,
            event.event_time,
            flight.label_time_ms,
            flight.label["late"],
            0.5,
            0,
            event.features,
            "",
        )
        for event, flight in zip(events, flights, strict=True)
        if flight.label
    ]
    compare_formats(pipeline, records)
    score_all(records)
    ratios = []
    for _ in range(ROUNDS):
        baseline, ours = (
            cpu_time(lambda: river_loop(pipeline.model(), examples)),
            cpu_time(lambda: our_loop(examples)),
        )
        ratios.append(ours / baseline)
    print(
        f"learner / River's predict + learn + three metrics: {median(ratios):.2f} "
        f"({len(examples)} examples)"
    )


def compare_formats(pipeline: Pipeline, records: list[Record]) -> None:
    """Prints the CPU time to read the same events from JSON and from Avro."""
    schema, reader = parsed(pipeline.schema), EventReader(pipeline)
    write = compile_writer(schema, 1)
    schemas: Schemas = {1: compile_reader(schema)}
    avro = [record._replace(value=write(orjson.loads(record.value or b""))) for record in records]
    rounds = [
        [
            cpu_time(lambda: exhaust(reader.read(record, NOW, schemas) for record in written))  # noqa: B023
            for written in (records, avro)
        ]
        for _ in range(ROUNDS)
    ]
    microseconds = [median(times) / len(records) * 1e6 for times in zip(*rounds, strict=True)]
    print(
        f"read an event (decode, validate, key, clean, time, features): "
        f"{microseconds[0]:.1f} us from JSON, {microseconds[1]:.1f} us from Avro"
    )


def score_all(records: list[Record]) -> None:
    """Prints the CPU time of the whole scorer and of the minimal hand-written steps."""
    pipeline, trained = ours.make("flights"), trained_model()
    model = LoadedModel("flights", 1, "", trained, BinaryTask(), frozen=True)

    def whole() -> None:
        config = ScorerConfig(
            fingerprint="", group="", app_version="", max_bytes=2**20, max_entries=2**20
        )
        state = PartitionState(0, HORIZON_MS, HORIZON_MS)
        scorer = Scorer(pipeline, config, state, perf_counter)
        for start in range(0, len(records), BATCH_RECORDS):
            scorer.score(records[start : start + BATCH_RECORDS], model, NOW)

    rounds = [
        [
            cpu_time(whole),
            cpu_time(lambda: exhaust(score(trained, record.value or b"") for record in records)),
        ]
        for _ in range(ROUNDS)
    ]
    microseconds = [median(times) / len(records) * 1e6 for times in zip(*rounds, strict=True)]
    print(
        f"score an event: {microseconds[0]:.1f} us, "
        f"hand-written (loads, predict, dumps) {microseconds[1]:.1f} us"
    )


def cpu_time(work: Callable[[], object]) -> float:
    """Returns the CPU seconds of a call."""
    started = process_time()
    work()
    return process_time() - started


def exhaust(results: Iterable[object]) -> None:
    """Computes results without storing them, because allocation would add to the time."""
    deque(results, maxlen=0)


def river_loop(model: object, examples: list[Example]) -> None:
    """Runs the hand-written River loop."""
    measured = [metrics.LogLoss(), metrics.ROCAUC(), metrics.Accuracy()]
    for example in examples:
        probabilities = model.predict_proba_one(example.features)  # type: ignore[attr-defined]  # River has no types
        for metric in measured[:2]:
            metric.update(example.label, probabilities)
        measured[2].update(example.label, probabilities.get(True, 0.5) >= 0.5)
        model.learn_one(example.features, example.label)  # type: ignore[attr-defined]  # likewise


def our_loop(examples: list[Example]) -> None:
    """Runs the learner, which evaluates the served predictions and makes none itself."""
    learner = Learner(load_pipeline("flights"), "")
    for offset, example in enumerate(examples):
        learner.learn(offset, example)


if __name__ == "__main__":
    main()
