"""Predicts at the scheduled departure whether a flight arrives at least 15 minutes late.

The label is known when the flight has landed.
"""

from datetime import timedelta
from math import cos, pi, sin
from typing import Any

from river import compose, linear_model, optim, preprocessing

from stream_app.cleaning import Between, Impute, Normalise
from stream_app.core.evaluation.classification_metrics import BINARY_METRICS
from stream_app.pipeline import Alarms, Label, Pipeline, Threshold, Thresholds
from stream_app.records import Features, Fields
from stream_app.transformers import Pick, TargetRate

CLEAN = (
    Normalise("carrier"),
    Normalise("origin"),
    Normalise("dest"),
    Impute("tail_number", "UNKNOWN"),
    Between("distance", 1, 6000, otherwise="reject"),
    Between("planned_minutes", 10, 1200, otherwise="reject"),
    # The data contains a wind speed of 1,048 miles per hour.
    Between("wind_speed", 0.0, 150.0),
    Impute("wind_speed", 10.0),
    Impute("humidity", 60.0),
    Impute("precipitation", 0.0),
    Impute("pressure", 1017.0),
    Impute("visibility", 10.0),
)

NUMBERS = (
    "distance", "planned_minutes", "hour", "day_sin", "day_cos", "half_day_sin", "half_day_cos",
    "humidity", "wind_speed", "precipitation", "pressure", "visibility",
)  # fmt: skip

# Recent share of late flights: by which fields, half-life in labels, weight of the overall share.
RATES: tuple[tuple[tuple[str, ...], float, float], ...] = (
    (("origin",), 200, 5),
    (("carrier",), 100, 5),
    (("dest",), 50, 5),
    (("carrier", "dest"), 50, 5),
    (("flight",), 20, 5),
    (("tail_number",), 3, 3),
)


def features(fields: Fields) -> Features:
    """Return the features, with the time of day as a curve: delays grow from morning to night."""
    hour = fields["local_departure"] // 100 + fields["local_departure"] % 100 / 60
    angle = 2 * pi * hour / 24
    return {
        "distance": fields["distance"],
        "planned_minutes": fields["planned_minutes"],
        "hour": hour,
        "day_sin": sin(angle),
        "day_cos": cos(angle),
        "half_day_sin": sin(2 * angle),
        "half_day_cos": cos(2 * angle),
        "humidity": fields["humidity"],
        "wind_speed": fields["wind_speed"],
        "precipitation": fields["precipitation"],
        "pressure": fields["pressure"],
        "visibility": fields["visibility"],
        "origin": fields["origin"],
        "carrier": fields["carrier"],
        "dest": fields["dest"],
        "flight": f"{fields['carrier']}{fields['flight']}",
        "tail_number": fields["tail_number"],
    }


def model() -> Any:
    """Return a logistic regression on the record and the recent share of similar late flights."""
    rates = [
        TargetRate(by, half_life=half_life, prior_weight=weight, prior_half_life=100)
        for by, half_life, weight in RATES
    ]
    inputs = compose.TransformerUnion(Pick(NUMBERS), *rates)
    classifier = linear_model.LogisticRegression(optimizer=optim.AdaGrad(0.02))
    return inputs | preprocessing.StandardScaler() | classifier


LIMITS = (
    # Breached twice from January 22nd to June, and once until December.
    Threshold(metric="log_loss", limit=0.6, windows=3),
    Threshold(metric="roc_auc", limit=0.55, windows=2),
)


pipeline = Pipeline(
    name="flights",
    schema="flights.avsc",
    event_id="event_id",
    event_time="scheduled_departure",
    clean=CLEAN,
    features=features,
    model=model,
    label=Label(
        schema="flights_label.avsc", field="late", time="known_at", horizon=timedelta(hours=36)
    ),
    metrics=tuple(BINARY_METRICS),
    thresholds=Thresholds(decision=0.3, metrics=LIMITS),
    window=timedelta(days=1),
    # Departures follow local time, also when the clocks change.
    alarms=Alarms(zone="America/New_York"),
    untrained="allowed",
    publish_features=True,
)
