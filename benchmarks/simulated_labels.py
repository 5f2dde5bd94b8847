"""Simulated streams of labels that are drawn from their served probabilities."""

import random
from collections.abc import Iterator
from math import exp

from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.core.examples import Example

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# 2024-01-01T00:00Z, a Monday.
START = 1_704_067_200_000
HORIZON_MS = 2 * DAY_MS


def served_labels(
    days: int, per_day: int, seed: int, shock: float = 0.0, start: int = START
) -> Iterator[ServedLabel]:
    """Yields labels by label time, three hours after their events on average.

    Args:
        days: length of the stream.
        per_day: number of labels per day.
        seed: seed of everything.
        shock: standard deviation of a shift of the logits that all labels of an hour share.
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
            delay = min(int(rng.expovariate(1.0 / (3 * HOUR_MS))), HORIZON_MS)
            waiting.append(ServedLabel(event_time + delay, event_time, 0, 0, label, score))
        waiting.sort(reverse=True)
        while waiting and waiting[-1].label_time < beginning + HOUR_MS:
            yield waiting.pop()
    yield from reversed(waiting)


def example_of(label: ServedLabel, *, assumed: bool = False) -> Example:
    """Returns the example from which a label was read; its id is the offset."""
    return Example(
        event_id=str(label.offset),
        event_time=label.event_time,
        label_time=label.label_time,
        label=label.label,
        score=label.score,
        model_version=1,
        features={},
        fingerprint="f" * 16,
        assumed=assumed,
    )
