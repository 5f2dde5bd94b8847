"""What River's own delayed progressive validation gives on the flights: the mark for the served predictions.

Run it with `python -m benchmarks.progressive --until 2013-03-01`. The same labelled events, features, delays and model
as in the demo without mistakes, but each prediction is made by a model that has learned every label known by then.
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
from stream_app.examples.nycflights import read_flights
from stream_app.loading import load_pipeline
from stream_app.records import Failure, Features, Record

NOW = 2**53  # no event lies in the future of that
AT, DELAY = "__at", "__delay"  # columns that only the evaluation reads; the model selects its own


def labelled(
    start: datetime, end: datetime
) -> Iterator[tuple[Features, bool, datetime, timedelta]]:
    """Features, label, time of the event and delay of the label of every flight that has one."""
    reader = EventReader(load_pipeline("stream_app.examples.flights:pipeline"))
    for flight in read_flights(start, end):
        if flight.label is None:
            continue
        key = flight.event["event_id"].encode()
        event = reader.read(Record("flights.raw", 0, 0, 0, key, orjson.dumps(flight.event)), NOW)
        if isinstance(event, Failure):
            raise ValueError(f"{flight.event['event_id']}: {event.message}")
        delay = timedelta(milliseconds=flight.label_time_ms - flight.event_time_ms)
        yield (
            event.features,
            flight.label["late"],
            datetime.fromtimestamp(flight.event_time_ms / 1000, UTC),
            delay,
        )


class Collected(metrics.ROCAUC):  # type: ignore[misc]
    """Keeps every prediction, for a ROC AUC without River's ten thresholds, and the log loss."""

    def __init__(self) -> None:
        super().__init__()
        self.ranks = RocAuc(limit=10**9)
        self.losses: list[float] = []

    def update(self, y_true: bool, y_pred: dict[bool, float], w: float = 1.0) -> None:
        self.ranks.add(y_true, y_pred[True])
        self.losses.append(log_loss(y_true, y_pred[True]))


def progressive(start: datetime, end: datetime) -> dict[str, float]:
    """Number of labelled events, ROC AUC and mean log loss (nats) of River's `progressive_val_score`."""
    dataset = [
        ({**features, AT: at, DELAY: delay}, label)
        for features, label, at, delay in labelled(start, end)
    ]
    model = load_pipeline("stream_app.examples.flights:pipeline").model()
    collected = Collected()
    evaluate.progressive_val_score(dataset, model, collected, moment=AT, delay=_delay)
    count = len(collected.losses)
    return {
        "events": count,
        "roc_auc": collected.ranks.auc() or 0.0,
        "log_loss": sum(collected.losses) / count,
    }


def _delay(features: dict[str, Any], label: bool) -> timedelta:
    delay: timedelta = features[DELAY]
    return delay


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", type=datetime.fromisoformat, default=datetime(2013, 1, 1))
    parser.add_argument("--until", type=datetime.fromisoformat, default=datetime(2013, 3, 1))
    options = parser.parse_args()
    print(json.dumps(progressive(options.since, options.until)))


if __name__ == "__main__":
    main()
