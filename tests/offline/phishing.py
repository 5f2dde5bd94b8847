"""River's Phishing data as events and labels of a pipeline; each label comes after its event."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from stream_app.pipeline import Label, Pipeline
from stream_app.records import Features, Fields
from tests.learning import HOUR, logistic, phishing

MINUTE = 60_000
START = 1_700_000_000_000
DECLARED = "from tests.offline.phishing import sites\npipeline = sites('NAME')\n"
_TIME = {"type": "long", "logicalType": "timestamp-millis"}


class Site(NamedTuple):
    """Web site seen `at`, whose label became known at `known_at`, both in Unix milliseconds."""

    number: int
    at: int
    known_at: int
    features: Features
    label: bool

    @property
    def event(self) -> dict[str, Any]:
        return {"id": f"s{self.number}", "at": self.at, **self.features}

    @property
    def label_record(self) -> dict[str, Any]:
        return {"id": f"s{self.number}", "known_at": self.known_at, "phishing": self.label}


@cache
def seen() -> tuple[Site, ...]:
    """Yield one web site per minute; labels come up to 80 minutes later, at no event's time."""
    chance = random.Random(7)
    return tuple(
        Site(
            number,
            START + number * MINUTE,
            START + number * MINUTE + _delay(chance),
            dict(x),
            label,
        )
        for number, (x, label) in enumerate(phishing())
    )


def _delay(chance: random.Random) -> int:
    return chance.randrange(1, 80) * MINUTE + chance.randrange(1, MINUTE)


def features(fields: Fields) -> Features:
    return {name: value for name, value in fields.items() if name not in ("id", "at")}


def sites(name: str, **changes: Any) -> Pipeline:
    """Return the pipeline with `changes` to its fields."""
    numbers = [{"name": name, "type": "double"} for name in phishing()[0][0]]
    declared: dict[str, Any] = {
        "name": name,
        "schema": _record("Site", {"name": "at", "type": _TIME}, *numbers),
        "event_id": "id",
        "event_time": "at",
        "features": features,
        "model": logistic,
        "label": Label(
            schema=_record(
                "Verdict",
                {"name": "known_at", "type": _TIME},
                {"name": "phishing", "type": "boolean"},
            ),
            field="phishing",
            time="known_at",
            horizon=timedelta(hours=24),
        ),
        "window": timedelta(hours=6),
    }
    return Pipeline(**{**declared, **changes})


def _record(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": "id", "type": "string"}, *fields]}


def write(folder: Path) -> tuple[str, str]:
    """Write a file of events and one of labels and return their paths."""
    events, labels = folder / "events.jsonl", folder / "labels.jsonl"
    events.write_bytes(b"".join(orjson.dumps(site.event) + b"\n" for site in seen()))
    labels.write_bytes(b"".join(orjson.dumps(site.label_record) + b"\n" for site in seen()))
    return str(events), str(labels)


def for_river() -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the form of River's `progressive_val_score`, with time and delay as features."""
    for site in seen():
        moment = datetime.fromtimestamp(site.at / 1000, UTC)
        yield (
            {
                **site.features,
                "moment": moment,
                "delay": timedelta(milliseconds=site.known_at - site.at),
            },
            site.label,
        )


HOURS = len(phishing()) * MINUTE // HOUR
