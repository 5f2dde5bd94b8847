"""Pipelines, examples and an in-memory log for the tests of learning and monitoring."""

import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from avro.io import validate
from avro.schema import Schema, parse
from river import datasets, linear_model, optim, preprocessing

from stream_app.core.examples import Example
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.pickling import OWN, AllowedNames, allowed_names
from stream_app.pipeline import Label, Pipeline, Threshold, Thresholds
from stream_app.records import Features, InputPartition, Output, Record, Score
from stream_app.transformers import TargetRate

HOUR = 3_600_000
FINGERPRINT = "f1"
ALL_NAMES = AllowedNames(OWN, allowed_names(OWN))  # what artifacts of any family may name
SCHEMAS = Path(__file__).parent.parent / "schemas"

Model = Callable[[], Any]
LABEL_SCHEMA = {"type": "record", "name": "Label", "fields": [{"name": "label", "type": "boolean"}]}


def logistic() -> Any:
    """Return logistic regression of standardised features."""
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.AdaGrad(0.05))


def with_rates() -> Any:
    """Return logistic regression with the recent rate per age of the web site."""
    return (
        TargetRate(["age_of_domain", "long_url"], half_life=20) + preprocessing.StandardScaler()
        | logistic()
    )


def pipeline(model: Model = logistic, **changes: Any) -> Pipeline:
    """Return a pipeline with the settings that learner and monitor use."""
    label = Label(schema=LABEL_SCHEMA, field="label", time="time", horizon=timedelta(hours=12))
    defaults: dict[str, Any] = {
        "name": "p",
        "schema": {},
        "event_id": "id",
        "event_time": "time",
        "features": dict,
        "label": label,
        "window": timedelta(hours=6),
        "untrained": "allowed",
        "metrics": ("log_loss", "roc_auc", "accuracy"),
    }
    return Pipeline(model=model, **(defaults | changes))


def thresholds(**metrics: float) -> Thresholds:
    """Return absolute limits of metrics."""
    return Thresholds(
        metrics=tuple(Threshold(metric=name, limit=limit) for name, limit in metrics.items())
    )


@cache
def phishing() -> tuple[tuple[Features, bool], ...]:
    """Return River's bundled data set: 1,250 web sites, 9 numeric features."""
    return tuple(datasets.Phishing())


def examples(n: int, seed: int = 0, every: int = 60_000) -> list[Example]:
    """Return examples of the phishing data, one a minute, labels 5 to 65 minutes later."""
    chance = random.Random(seed)
    rows = phishing()
    found = []
    for i in range(n):
        x, label = rows[i % len(rows)]
        time = i * every
        delay = chance.randrange(5 * 60_000, 65 * 60_000)
        found.append(
            Example(
                f"e{i}", time, time + delay, label, chance.random(), i // 100, dict(x), FINGERPRINT
            )
        )
    return found


def measurements(outputs: Iterable[Output]) -> list[dict[str, Any]]:
    """Return the published measurements, each checked against its schema."""
    found = []
    for output in outputs:
        if output.topic == "monitoring":
            assert output.value is not None
            fields = orjson.loads(output.value)
            assert fits("monitoring", fields), fields
            found.append(fields)
    return found


@cache
def schema(name: str) -> Schema:
    """Return a published schema."""
    return parse((SCHEMAS / f"{name}.avsc").read_text())


def fits(name: str, fields: dict[str, Any]) -> bool:
    """Return True if the fields conform to the published schema."""
    return bool(validate(schema(name), fields))


def scores_of(model: LoadedModel) -> list[Score]:
    """Return the scores of a hundred rows, to compare bit by bit."""
    return [model.score(x) for x, _ in phishing()[::12]]


class MemoryLog:
    """`RetryingReader` over topics in memory; offsets have gaps, as transaction markers leave."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Record]] = {}
        self.low: dict[str, int] = {}
        # Number of transaction markers behind the last record, by topic and partition.
        self.markers: dict[str, int] = {}

    def append(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int = 0, gap: int = 0
    ) -> int:
        """Write a record; return its offset."""
        records = self.topics.setdefault(f"{topic}/{partition}", [])
        offset = (records[-1].offset + 1 if records else 0) + gap
        records.append(Record(topic, partition, offset, 0, key, value))
        return offset

    def write(self, pipeline_name: str, outputs: Iterable[Output]) -> None:
        """Write the outputs of a committed transaction."""
        for output in outputs:
            self.append(
                f"{pipeline_name}.{output.topic}",
                output.key,
                output.value,
                max(output.partition, 0),
            )

    def read_stable(
        self, topic: str, partition: int
    ) -> Iterator[tuple[bytes | None, bytes | None]]:
        return self.read_all(topic, partition)

    def read_all(self, topic: str, partition: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        return (
            (record.key, record.value) for record in self.topics.get(f"{topic}/{partition}", [])
        )

    def read_range(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        return (
            record for record in self.topics[f"{topic}/{partition}"] if start <= record.offset < end
        )

    def after(self, source: InputPartition, offset: int, size: int) -> list[Record]:
        """Return the next records from an offset on."""
        records = self.topics.get(f"{source.topic}/{source.partition}", [])
        start = bisect_left(records, offset, key=lambda record: record.offset)
        return records[start : start + size]

    def end_with_markers(self, source: InputPartition) -> int:
        return self.ends(source)[1] + self.markers.get(f"{source.topic}/{source.partition}", 0)

    def written_end(self, source: InputPartition) -> int:
        return self.end_with_markers(source)

    def ends(self, source: InputPartition) -> tuple[int, int]:
        records = self.topics.get(f"{source.topic}/{source.partition}", [])
        return self.low.get(source.topic, 0), records[-1].offset + 1 if records else 0
