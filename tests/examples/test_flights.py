"""Flights pipeline: real records are read, and the model learns from delayed labels."""

import pickle
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import orjson
import pytest

from stream_app.core.reading.record_reader import Event, EventReader, LabelEvent, LabelReader
from stream_app.examples.nycflights import Flight, timeline
from stream_app.loading import load_pipeline
from stream_app.pipeline import Pipeline
from stream_app.records import Record

NOW = 1_400_000_000_000


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline("flights")


def read(pipeline: Pipeline, event: dict[str, Any]) -> Event:
    record = Record("flights.raw", 0, 0, NOW, event["event_id"].encode(), orjson.dumps(event))
    outcome = EventReader(pipeline).read(record, NOW)
    assert isinstance(outcome, Event)
    return outcome


def test_every_flight_and_label_is_valid(pipeline: Pipeline, two_months: list[Flight]) -> None:
    events, labels = EventReader(pipeline), LabelReader(pipeline)
    for flight in two_months[::10]:
        key = flight.event["event_id"].encode()
        event = events.read(Record("flights.raw", 0, 0, NOW, key, orjson.dumps(flight.event)), NOW)
        assert isinstance(event, Event)
        assert event.event_time == flight.event_time_ms
        if flight.label is not None:
            label = labels.read(
                Record("flights.labels", 0, 0, NOW, key, orjson.dumps(flight.label)), NOW
            )
            assert label == LabelEvent(
                flight.event["event_id"], flight.label["late"], flight.label_time_ms
            )


def test_missing_and_impossible_values_are_imputed(
    pipeline: Pipeline, two_months: list[Flight]
) -> None:
    event = read(
        pipeline,
        two_months[0].event | {"tail_number": None, "wind_speed": 1048.36, "pressure": None},
    )
    assert set(event.imputed) == {"tail_number", "wind_speed", "pressure"}
    assert event.features["tail_number"] == "UNKNOWN"
    assert event.features["wind_speed"] == 10.0
    assert event.features["pressure"] == 1017.0


def test_texts_are_normalised_before_features_are_extracted(
    pipeline: Pipeline, two_months: list[Flight]
) -> None:
    clean = read(pipeline, two_months[0].event)
    dirty = read(pipeline, two_months[0].event | {"carrier": " ua", "dest": "iah "})
    assert dirty.features == clean.features


def test_the_model_predicts_late_flights_after_learning_from_delayed_labels(
    pipeline: Pipeline, two_months: list[Flight]
) -> None:
    scored = prequential(pipeline, two_months)
    assert len(scored) > 49_000
    assert roc_auc(scored) >= 0.675


def test_pickling_and_predicting_do_not_change_the_model(
    pipeline: Pipeline, two_months: list[Flight]
) -> None:
    model = pipeline.model()
    features = [dict(read(pipeline, flight.event).features) for flight in two_months[:300]]
    for x, flight in zip(features[:200], two_months, strict=False):
        if flight.label is not None:
            model.learn_one(x, flight.label["late"])
    copy = pickle.loads(pickle.dumps(model))
    first = [model.predict_proba_one(x)[True] for x in features]
    assert [copy.predict_proba_one(x)[True] for x in features] == first
    assert [model.predict_proba_one(x)[True] for x in features] == first


def prequential(pipeline: Pipeline, flights: Sequence[Flight]) -> list[tuple[float, bool]]:
    """Return scores and labels of a prequential evaluation, as in `progressive_val_score`."""
    reader, model = EventReader(pipeline), pipeline.model()
    features: dict[str, Any] = {}
    scores: dict[str, float] = {}
    scored = list[tuple[float, bool]]()
    for kind, _, record in timeline(flights):
        event_id = record["event_id"]
        if kind == "raw":
            event = reader.read(Record("", 0, 0, NOW, event_id.encode(), orjson.dumps(record)), NOW)
            assert isinstance(event, Event)
            features[event_id] = event.features
            scores[event_id] = model.predict_proba_one(event.features).get(True, 0.5)
        else:
            scored.append((scores.pop(event_id), record["late"]))
            model.learn_one(features.pop(event_id), record["late"])
    return scored


def roc_auc(scored: Sequence[tuple[float, bool]]) -> float:
    """Return the exact area under the ROC curve; ties count as halves."""
    below = pairs = 0.0
    for _, group in groupby(sorted(scored), key=lambda item: item[0]):
        labels = [late for _, late in group]
        positives, negatives = sum(labels), len(labels) - sum(labels)
        pairs += positives * (below + negatives / 2)
        below += negatives
    return pairs / (below * (len(scored) - below))
