"""Scored records carry the fields that `pass_through` names, as received and before cleaning."""

from typing import Any

import orjson
import pytest

from stream_app.cleaning import Impute
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.records import Features, Fields, Output
from stream_app.resilience import Fallback, TransientError
from tests.small_pipeline import EVENT_SCHEMA, HOUR, NOW, event, features, record, small_pipeline

DAY = 24 * HOUR
TAGS = {"name": "tags", "type": {"type": "array", "items": "string"}, "default": ["none"]}
SCHEMA = {**EVENT_SCHEMA, "fields": [*EVENT_SCHEMA["fields"], TAGS]}


class BrokenModel:
    """Model that fails for amounts below zero."""

    name = "payments"
    version = 3

    def score(self, values: Features) -> float:
        if float(values["amount"]) < 0:
            raise ValueError("below zero")
        return 0.5


def change_all(fields: Fields) -> Fields:
    """Changes a list in place, which a step should not do, and other fields as it should."""
    fields["tags"].append("changed")
    return {"amount": 99.0, "country": "XX"}


def scorer(*names: str, max_bytes: int = 100_000, **changes: Any) -> Scorer:
    config = ScorerConfig(
        fingerprint="f" * 16, group="g", app_version="1", max_bytes=max_bytes, max_entries=1000
    )
    state = PartitionState(0, horizon=DAY, lateness=6 * HOUR)
    pipeline = small_pipeline(schema=SCHEMA, pass_through=names, **changes)
    return Scorer(pipeline, config, state, lambda: 0.0)


def scored(outputs: list[Output]) -> dict[str, Any]:
    """Return the single scored record."""
    (value,) = [output.value for output in outputs if output.topic == "scored"]
    fields: dict[str, Any] = orjson.loads(value or b"")
    return fields


def test_passed_fields_are_as_received() -> None:
    subject = scorer("amount", "country", "tags", clean=(change_all,))
    sent = record(event(1, country=None, amount=5, tags=["a"], unknown=1))
    found = scored(subject.score([sent], BrokenModel(), NOW))
    assert found["fields"] == {"amount": 5.0, "country": None, "tags": ["a"]}
    assert list(found)[-1] == "fields"


def test_a_missing_field_has_its_default_and_a_time_is_in_milliseconds() -> None:
    sent = record({"id": "e1", "at": "2023-11-14T00:00:00Z", "amount": 1.0})
    subject = scorer("tags", "country", "at", clean=(Impute("country", "NL"),))
    found = scored(subject.score([sent], BrokenModel(), NOW))
    assert found["fields"] == {"tags": ["none"], "country": None, "at": 1_699_920_000_000}
    assert found["imputed"] == ["country"]


def test_a_scored_record_without_passed_fields_has_no_such_key() -> None:
    assert "fields" not in scored(scorer().score([record(event(1))], BrokenModel(), NOW))


def test_a_score_of_the_fallback_carries_them_too() -> None:
    subject = scorer("country", fallback=Fallback(score=0.1))
    found = scored(subject.score([record(event(1, amount=-1.0))], BrokenModel(), NOW))
    assert (found["degraded"], found["fields"]) == ("rule", {"country": "NL"})


def test_a_retried_event_carries_them_too() -> None:
    down = True

    def look_up(fields: Fields) -> Features:
        if down:
            raise TransientError("no answer")
        return features(fields)

    subject = scorer("country", features=look_up)
    assert subject.state.counts.scored == 0
    subject.score([record(event(1))], BrokenModel(), NOW)
    down, later = False, NOW + HOUR
    due = subject.state.retries.due(later)
    assert scored(subject.retry(due, BrokenModel(), later))["fields"] == {"country": "NL"}


@pytest.mark.parametrize(("size", "fits"), [(9_000, True), (9_900, False)])
def test_passed_fields_count_for_the_size_of_the_scored_record(size: int, fits: bool) -> None:
    sent = record(event(1, country="x" * size))
    outputs = scorer("country", max_bytes=10_000).score([sent], BrokenModel(), NOW)
    assert [output.topic for output in outputs if output.topic in ("scored", "raw.dlq")] == (
        ["scored"] if fits else ["raw.dlq"]
    )
    assert fits or dict(outputs[0].headers)["stream-app-error-code"] == b"output-too-large"
    without = scorer(max_bytes=10_000).score([sent], BrokenModel(), NOW)
    assert "fields" not in scored(without)
