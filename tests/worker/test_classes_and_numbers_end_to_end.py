"""Regression and multiclass pipelines score, learn and reproduce flights with real workers."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.examples.nycflights import Flight, read_flights
from tests.faults.relearning import check_relearning
from tests.learning import fits
from tests.running_system import System

pytestmark = pytest.mark.broker

DECLARED = """
from dataclasses import replace

from river import linear_model, naive_bayes, preprocessing

from stream_app import Fallback
from stream_app.examples.flights import NUMBERS, pipeline as flights
from stream_app.loading import load_pipeline
from stream_app.transformers import Pick

def minutes():
    return Pick(NUMBERS) | preprocessing.StandardScaler() | linear_model.LinearRegression()

def classes():
    return Pick(NUMBERS) | naive_bayes.GaussianNB()

FIELDS = [
    {"name": "event_id", "type": "string"},
    {"name": "known_at", "type": "string"},
    {"name": "truth", "type": TYPE},
]
flights = load_pipeline("flights")
schema = {"type": "record", "name": "Truth", "fields": FIELDS}
label = replace(flights.label, schema=schema, field="truth")
pipeline = replace(
    flights,
    name="NAME",
    label=label,
    model=MODEL,
    metrics=(),
    thresholds=type(flights.thresholds)(),
    fallback=Fallback(score=RULE),
)
"""
ENUM = {"type": "enum", "name": "How", "symbols": ["on_time", "late", "very_late"]}


Truth = Mapping[str, float | str]
"""Label of each flight that arrives, by event id."""


@pytest.fixture(scope="module")
def flights() -> list[Flight]:
    """Flights of one day."""
    return list(read_flights(datetime(2013, 1, 1), datetime(2013, 1, 2)))


def minutes_late(flight: Flight) -> float:
    """Return the delay at the arrival in minutes."""
    return (flight.label_time_ms - flight.event_time_ms) / 60_000 - float(
        flight.event["planned_minutes"]
    )


def how_late(flight: Flight) -> str:
    """Return one of three classes of delay."""
    minutes = minutes_late(flight)
    return "on_time" if minutes < 15 else "late" if minutes < 60 else "very_late"


@pytest.fixture
def system(
    request: pytest.FixtureRequest, broker: EmbeddedBroker, tmp_path: Path
) -> Iterator[System]:
    """Scorer and learner of the pipeline that the test's parameter declares."""
    name = f"kinds-{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name, request.param, partitions=2) as system:
        system.start_all()
        yield system


def declared(avro_type: object, model: str, rule: object) -> str:
    """Return the source of a pipeline."""
    return (
        DECLARED.replace("TYPE", repr(avro_type))
        .replace("MODEL", model)
        .replace("RULE", repr(rule))
    )


def send(system: System, flight: Flight, truth: Truth) -> None:
    """Send a flight, and its label if it has one."""
    event_id: str = flight.event["event_id"]
    system.send("raw", orjson.dumps(flight.event), event_id.encode())
    if flight.label is not None:
        label = {
            "event_id": event_id,
            "known_at": flight.label["known_at"],
            "truth": truth[event_id],
        }
        system.send("labels", orjson.dumps(label), event_id.encode())


def learn(system: System) -> None:
    """Wait until every example is learned."""
    system.await_outcomes()
    system.until(
        lambda: system.learned() == system.sent["labels"], 60, "not every example is learned"
    )


def served(system: System) -> list[dict[str, Any]]:
    """Return scored records of trained versions."""
    return [value for value in system.values("scored") if value["model"]["version"]]


def run(system: System, flights: Sequence[Flight], truth: Truth) -> dict[str, Any]:
    """Send half of the flights, and the others once these are learned.

    Checks that outputs fit their schemas and that every prediction can be reproduced.

    Returns:
        Metrics of the last version.
    """
    for flight in flights[::2]:
        send(system, flight, truth)
    learn(system)
    for number, flight in enumerate(flights[1::2]):
        send(system, flight, truth)
        # Gives the scorer time to load the trained version.
        if number < 20:
            system.producer.flush()
            time.sleep(0.1)
    learn(system)
    system.check_outcomes()
    assert all(fits("scored", value) for value in system.values("scored"))
    assert all(fits("example", value) for value in system.values("examples"))
    assert {value["event_id"]: value["label"] for value in system.values("examples")} == truth
    assert check_relearning(system) == system.sent["labels"]
    shown = system.command("models", "show", "PIPELINE", "--json")
    assert shown.returncode == 0, shown.stderr
    metrics: dict[str, Any] = json.loads(shown.stdout)["metrics"]
    return metrics


@pytest.mark.parametrize("system", [declared("double", "minutes", 7.0)], indirect=True)
def test_a_number_is_predicted_served_and_learned(system: System, flights: list[Flight]) -> None:
    truth = {flight.event["event_id"]: minutes_late(flight) for flight in flights if flight.label}
    assert {"mae", "rmse", "r2", "mean_mae"} <= run(system, flights, truth).keys()
    assert served(system)
    for value in served(system):
        assert value["prediction"] == value["score"] != 0.0
        assert (value["threshold"], value["probabilities"]) == (None, None)


@pytest.mark.faults
@pytest.mark.parametrize(
    "system", [declared(ENUM, "classes", {"on_time": 0.75, "late": 0.25})], indirect=True
)
def test_a_class_is_predicted_served_and_learned(system: System, flights: list[Flight]) -> None:
    truth = {flight.event["event_id"]: how_late(flight) for flight in flights if flight.label}
    assert {"log_loss", "accuracy", "macro_f1", "majority_accuracy"} <= run(
        system, flights, truth
    ).keys()
    assert served(system)
    for value in served(system):
        assert set(value["probabilities"]) <= set(ENUM["symbols"])
        assert (
            value["score"]
            == value["probabilities"][value["prediction"]]
            == max(value["probabilities"].values())
        )
