"""River's delayed progressive validation on the flights: reference for the served predictions.

Run it with `python -m benchmarks.progressive --until 2013-03-01`. It uses the labelled events,
features, delays and model of the demo without injected mistakes, but each prediction comes from a
model that has learned every label known by then.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from river import evaluate, metrics

from stream_app.core.evaluation.classification_metrics import log_loss
from stream_app.core.evaluation.roc_auc import RocAuc
from stream_app.core.reading.record_reader import EventReader
from stream_app.examples.nycflights import Flight, read_flights
from stream_app.loading import load_pipeline
from stream_app.records import Failure, Features, Record

# Unix milliseconds, later than all events.
NOW = 2**53
# Columns for the evaluation only; the model selects its own features.
AT, DELAY = "__at", "__delay"


def cleaned(start: datetime, end: datetime) -> Iterator[tuple[Flight, Features]]:
    """Yields every flight with its features, those without a label too."""
    reader = EventReader(load_pipeline("stream_app.examples.flights:pipeline"))
    for flight in read_flights(start, end):
        key = flight.event["event_id"].encode()
        event = reader.read(Record("flights.raw", 0, 0, 0, key, orjson.dumps(flight.event)), NOW)
        if isinstance(event, Failure):
            raise ValueError(f"{flight.event['event_id']}: {event.message}")
        yield flight, event.features


def labelled(
    start: datetime, end: datetime
) -> Iterator[tuple[Features, bool, datetime, timedelta]]:
    """Yields features, label, event time and label delay of every flight with a label."""
    for flight, features in cleaned(start, end):
        if flight.label is None:
            continue
        delay = timedelta(milliseconds=flight.label_time_ms - flight.event_time_ms)
        yield (
            features,
            flight.label["late"],
            datetime.fromtimestamp(flight.event_time_ms / 1000, UTC),
            delay,
        )


class PredictionCollector(metrics.ROCAUC):  # type: ignore[misc]
    """Stores every prediction for the log loss and an ROC AUC without River's ten thresholds."""

    def __init__(self) -> None:
        super().__init__()
        self.roc_auc = RocAuc(limit=10**9)
        self.losses: list[float] = []

    def update(self, y_true: bool, y_pred: dict[bool, float], w: float = 1.0) -> None:
        self.roc_auc.add(y_true, y_pred[True])
        self.losses.append(log_loss(y_true, y_pred[True]))


def progressive(start: datetime, end: datetime) -> dict[str, float]:
    """Runs River's `progressive_val_score`.

    Returns:
        `events` (number of labelled events), `roc_auc`, and `log_loss` (mean, in nats).
    """
    dataset = [
        ({**features, AT: at, DELAY: delay}, label)
        for features, label, at, delay in labelled(start, end)
    ]
    model = load_pipeline("stream_app.examples.flights:pipeline").model()
    collector = PredictionCollector()
    evaluate.progressive_val_score(dataset, model, collector, moment=AT, delay=_delay)
    count = len(collector.losses)
    return {
        "events": count,
        "roc_auc": collector.roc_auc.auc() or 0.0,
        "log_loss": sum(collector.losses) / count,
    }


def _delay(features: dict[str, Any], label: bool) -> timedelta:
    delay: timedelta = features[DELAY]
    return delay


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", type=datetime.fromisoformat, default=datetime(2013, 1, 1))
    parser.add_argument("--until", type=datetime.fromisoformat, default=datetime(2013, 3, 1))
    options = parser.parse_args()
    print(json.dumps(progressive(options.since, options.until)))


if __name__ == "__main__":
    main()
