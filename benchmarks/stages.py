"""CPU per event of the core's stages, and the learner against River's own loop: `python -m benchmarks.stages`.

Ratios are of two loops run in turn on the same examples, five rounds, medians.
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
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.example import Example
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
NOW = 2**53
HORIZON = 36 * 3_600_000  # milliseconds
BATCH = 500


def main() -> None:
    """Print the figures."""
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
        bare, ours = (
            seconds(lambda: river_loop(pipeline.model(), examples)),
            seconds(lambda: our_loop(examples)),
        )
        ratios.append(ours / bare)
    print(
        f"learner / River's predict + learn + three metrics: {median(ratios):.2f} (of {len(examples)} examples)"
    )


def compare_formats(pipeline: Pipeline, records: list[Record]) -> None:
    """Reading the same events from JSON and from Avro, in turn."""
    schema, reader = parsed(pipeline.schema), EventReader(pipeline)
    write = compile_writer(schema, 1)
    schemas: Schemas = {1: compile_reader(schema)}
    avro = [record._replace(value=write(orjson.loads(record.value or b""))) for record in records]
    rounds = [
        [
            seconds(lambda: drop(reader.read(record, NOW, schemas) for record in written))  # noqa: B023
            for written in (records, avro)
        ]
        for _ in range(ROUNDS)
    ]
    microseconds = [median(times) / len(records) * 1e6 for times in zip(*rounds, strict=True)]
    what = "decode, validate, key, clean, time, features"
    print(
        f"read an event ({what}): {microseconds[0]:.1f} us from JSON, {microseconds[1]:.1f} us from Avro"
    )


def score_all(records: list[Record]) -> None:
    """The whole scorer, and the least that anybody could do by hand, for the eight numbers that all contenders use."""
    pipeline, trained = ours.make("flights"), trained_model()
    model = LoadedModel("flights", 1, "", trained, BinaryTask(), frozen=True)

    def whole() -> None:
        config = ScorerConfig(
            fingerprint="", group="", app_version="", max_bytes=2**20, max_entries=2**20
        )
        state = PartitionState(0, HORIZON, HORIZON)
        scorer = Scorer(pipeline, config, state, perf_counter)
        for start in range(0, len(records), BATCH):
            scorer.score(records[start : start + BATCH], model, NOW)

    rounds = [
        [
            seconds(whole),
            seconds(lambda: drop(score(trained, record.value or b"") for record in records)),
        ]
        for _ in range(ROUNDS)
    ]
    microseconds = [median(times) / len(records) * 1e6 for times in zip(*rounds, strict=True)]
    print(
        f"score an event: {microseconds[0]:.1f} us, by hand (loads, predict, dumps) {microseconds[1]:.1f} us"
    )


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds that it takes."""
    started = process_time()
    work()
    return process_time() - started


def drop(results: Iterable[object]) -> None:
    """Compute them, and keep none, for the memory that they take would be part of the time."""
    deque(results, maxlen=0)


def river_loop(model: object, examples: list[Example]) -> None:
    """What one would write by hand with River."""
    measured = [metrics.LogLoss(), metrics.ROCAUC(), metrics.Accuracy()]
    for example in examples:
        probabilities = model.predict_proba_one(example.features)  # type: ignore[attr-defined]  # River has no types
        for metric in measured[:2]:
            metric.update(example.label, probabilities)
        measured[2].update(example.label, probabilities.get(True, 0.5) >= 0.5)
        model.learn_one(example.features, example.label)  # type: ignore[attr-defined]  # likewise


def our_loop(examples: list[Example]) -> None:
    """The learner: it judges the prediction that was served, so it makes none."""
    learner = Learner(load_pipeline("flights"), "")
    for offset, example in enumerate(examples):
        learner.learn(offset, example)


if __name__ == "__main__":
    main()
