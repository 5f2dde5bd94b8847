"""Digest of what the detectors of labels make of their streams: `python -m
tests.core.alarms.alarm_digest`.
"""

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from math import exp

import orjson

from benchmarks.simulated_labels import DAY_MS, HORIZON_MS, HOUR_MS, START, served_labels
from stream_app.compiled_core import core_state
from stream_app.core.alarms.label_detector import LabelDetector, LabelType
from stream_app.core.alarms.label_feed import ServedLabel
from tests.core.alarms.streams import flipped

TYPES: tuple[LabelType, ...] = ("binary", "class", "number")


def labels_of(label_type: LabelType, days: int, per_day: int, seed: int) -> Iterator[ServedLabel]:
    """Yields labels of a type, drawn from their predictions."""
    rng = random.Random(seed)
    for label in served_labels(days, per_day, seed):
        if label_type == "class":
            weights = [exp(rng.gauss(0.0, 1.5)) for _ in "abcd"]
            scores = dict(zip("abcd", [one / sum(weights) for one in weights], strict=True))
            yield label._replace(label=rng.choices("abcd", weights)[0], score=scores)
        elif label_type == "number":
            score = rng.gauss(100.0, 10.0)
            yield label._replace(label=score + rng.gauss(0.0, 10.0), score=score)
        else:
            yield label


def wrong(labels: Iterator[ServedLabel], since: int, share: float, seed: int) -> list[ServedLabel]:
    """Returns labels, a share of which is replaced by that of another event from a time on."""
    rng, found = random.Random(seed), list(labels)
    values = [one.label for one in found]
    return [
        one._replace(label=rng.choice(values))
        if one.label_time >= since and rng.random() < share
        else one
        for one in found
    ]


def main() -> None:
    """Writes which core ran, the number of alarms, and the digest of alarms and states, as JSON."""
    digest, alarms, since = hashlib.sha256(), 0, START + 22 * DAY_MS
    for label_type in TYPES:
        labels: Iterator[ServedLabel] = labels_of(label_type, 26, 240, 61)
        if label_type == "binary":
            labels = flipped(labels, since, 2**62, 0.3, 61)
        detector = LabelDetector(label_type, 20.0, HORIZON_MS)
        detector.start(START)
        for label in wrong(labels, since, 0.4, 61):
            detector.add(label, assumed=False)
            for alarm in detector.release(label.label_time - HOUR_MS):
                alarms += 1
                digest.update(repr(alarm).encode())
        digest.update(orjson.dumps(detector.state()))
    found = {"core": core_state(), "alarms": alarms, "digest": digest.hexdigest()}
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
