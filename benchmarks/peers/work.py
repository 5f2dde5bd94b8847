"""The work that every contender does: eight numbers of a flight, a frozen linear model, one small record out."""

import random
from functools import cache
from typing import Any

import orjson
from river import linear_model, optim, preprocessing

from stream_app.records import Features, Fields

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
"""What the model sees, and about where it lies."""


def new_model() -> Any:
    """The model, untrained."""
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.01))


@cache
def trained_on() -> tuple[tuple[dict[str, float], bool], ...]:
    """What it learns before the race: 2,000 made-up flights, always the same ones."""
    chance = random.Random(7)
    flights = [
        {name: chance.uniform(*range_) for name, range_ in RANGES.items()} for _ in range(2000)
    ]
    return tuple(
        (x, x["wind_speed"] / 40 + x["local_departure"] / 2300 > chance.uniform(0.3, 1.7))
        for x in flights
    )


def trained_model() -> Any:
    """The model that everybody serves."""
    model = new_model()
    for x, y in trained_on():
        model.learn_one(x, y)
    return model


def numbers(flight: Fields) -> Features:
    """What the model sees; a missing measurement is 0. Raises KeyError, TypeError, ValueError for a bad record."""
    return {name: float(flight[name] or 0.0) for name in RANGES}


def score(model: Any, value: bytes) -> bytes:
    """A raw record to a scored one; raises ValueError, KeyError or TypeError for a bad record."""
    flight = orjson.loads(value)
    probability = model.predict_proba_one(numbers(flight))[True]
    return orjson.dumps(
        {"event_id": flight["event_id"], "score": probability, "prediction": probability >= 0.5}
    )


BAD = (ValueError, KeyError, TypeError)
"""What `score` raises for a record that belongs into the dead-letter topic."""
