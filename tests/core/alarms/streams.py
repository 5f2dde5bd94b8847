"""Simulated streams of served labels."""

import random
from collections.abc import Iterator
from math import exp
from typing import Any

import orjson

from stream_app.core.alarms.label_feed import ServedLabel

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# 2024-01-01T00:00Z, a Monday.
START = 1_704_067_200_000
HORIZON_MS = 2 * DAY_MS


def served_labels(
    days: int, per_day: int, seed: int, shock: float = 0.0, start: int = START
) -> Iterator[ServedLabel]:
    """Yields labels that are drawn from their served probabilities, by label time.

    Args:
        days: length of the stream.
        per_day: number of labels per day.
        seed: seed of everything.
        shock: standard deviation of a shift of all logits of an hour.
        start: time of the first event in Unix milliseconds.
    """
    rng = random.Random(seed)
    waiting: list[ServedLabel] = []
    for hour in range(24 * days):
        shift = rng.gauss(0.0, shock) if shock else 0.0
        beginning = start + hour * HOUR_MS
        for number in range(per_day // 24):
            event_time = beginning + number * HOUR_MS * 24 // per_day
            logit = rng.gauss(-1.0, 1.0)
            score = 1.0 / (1.0 + exp(-logit))
            label = rng.random() < 1.0 / (1.0 + exp(-logit - shift))
            label_time = event_time + int(rng.expovariate(1.0 / (3 * HOUR_MS)))
            label_time = min(label_time, event_time + HORIZON_MS)
            waiting.append(ServedLabel(label_time, event_time, 0, 0, label, score))
        waiting.sort()
        while waiting and waiting[0].label_time < beginning + HOUR_MS:
            yield waiting.pop(0)
    yield from waiting


def flipped(
    labels: Iterator[ServedLabel], since: int, until: int, share: float, seed: int
) -> Iterator[ServedLabel]:
    """Yields labels, a share of which is inverted between two label times."""
    rng = random.Random(seed)
    for label in labels:
        if since <= label.label_time < until and rng.random() < share:
            yield label._replace(label=not label.label)
        else:
            yield label


def through_json(state: Any) -> Any:
    """Returns what a checkpoint would give back."""
    return orjson.loads(orjson.dumps(state))
