"""Work of every contender: eight features of a flight, a frozen model, one small record."""

import random
from functools import cache
from typing import Any

import orjson
from river import forest, linear_model, optim, preprocessing, tree

from benchmarks.workload import OPTIONAL, Workload
from stream_app.records import Features, Fields

WORKLOAD = Workload.from_environment()
SEED = 7

RANGES = {
    "distance": (100.0, 2700.0),
    "planned_minutes": (50.0, 400.0),
    "local_departure": (500.0, 2300.0),
    "humidity": (10.0, 100.0),
    "wind_speed": (0.0, 40.0),
    "precipitation": (0.0, 0.5),
    "pressure": (990.0, 1040.0),
    "visibility": (0.0, 10.0),
}
"""Features of the model with their approximate range."""


def new_model() -> Any:
    """Returns the untrained model of the workload."""
    if WORKLOAD.model == "tree":
        return tree.HoeffdingTreeClassifier(grace_period=50)
    if WORKLOAD.model == "forest":
        return forest.ARFClassifier(n_models=10, seed=SEED)
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.01))


@cache
def trained_on() -> tuple[tuple[dict[str, float], bool], ...]:
    """Returns the training data: 2,000 random flights, the same for every contender."""
    chance = random.Random(SEED)
    flights = [
        {name: chance.uniform(*range_) for name, range_ in RANGES.items()} for _ in range(2000)
    ]
    return tuple(
        (x, x["wind_speed"] / 40 + x["local_departure"] / 2300 > chance.uniform(0.3, 1.7))
        for x in flights
    )


def trained_model() -> Any:
    """Returns the model that every contender serves."""
    model = new_model()
    for x, y in trained_on():
        model.learn_one(x, y)
    return model


def numbers(flight: Fields) -> Features:
    """Returns the features of a flight; a missing measurement is 0.

    Raises:
        KeyError, TypeError, ValueError: the record is invalid.
    """
    return {name: float(flight[name] or 0.0) for name in RANGES}


def numbers_of_small(flight: Fields) -> Features:
    """Returns the features of a flight of which some fields may be missing; raises as `numbers`."""
    return {
        name: float((flight.get(name) if name in OPTIONAL else flight[name]) or 0.0)
        for name in RANGES
    }


features_of = numbers_of_small if WORKLOAD.payload == "small" else numbers
"""Returns the features of an event of the workload."""


def score(model: Any, value: bytes) -> bytes:
    """Returns the scored record of a raw record.

    Raises:
        KeyError, TypeError, ValueError: the record is invalid.
    """
    flight = orjson.loads(value)
    probability = model.predict_proba_one(features_of(flight)).get(True, 0.0)
    return orjson.dumps(
        {"event_id": flight["event_id"], "score": probability, "prediction": probability >= 0.5}
    )


BAD = (ValueError, KeyError, TypeError)
"""Errors of `score` for a record that belongs in the dead-letter topic."""
