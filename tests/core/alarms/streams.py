"""Streams of served labels with faults, and checkpoints."""

import random
from collections.abc import Iterator
from typing import Any

import orjson

from stream_app.core.alarms.label_feed import ServedLabel


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
