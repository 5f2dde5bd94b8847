"""The newest records tell times of a wrong unit, and bounds of numbers."""

from typing import Any

from stream_app.core.reading.decoding import NO_SCHEMAS
from stream_app.doctor.topic_checks import evaluate_numbers, evaluate_times
from stream_app.loading import complete
from stream_app.records import Record
from tests.small_pipeline import NOW, event, label, record, small_pipeline


def times(events: list[Record], labels: list[Record]) -> list[tuple[str, str]]:
    found = evaluate_times(complete(small_pipeline()), events, labels, NO_SCHEMAS)
    return [(result.level, result.message) for result in found]


def labels_at(*known_at: int) -> list[Record]:
    fields: list[Any] = [label(number, time) for number, time in enumerate(known_at)]
    return [record(each, topic="payments.labels") for each in fields]


def test_times_in_seconds_are_a_warning() -> None:
    suspicion = "is in January 1970, as if its unit were wrong by a factor of 1,000"
    events = [record(event(1)), record(event(2, NOW // 1000)), record(b"{")]
    assert times(events, labels_at(NOW // 1000)) == [
        ("warning", f"the time of 1 of the 2 newest events {suspicion}"),
        ("warning", f"the time of 1 of the 1 newest labels {suspicion}"),
    ]
    assert times([record(event(1))], labels_at(NOW)) == [
        ("ok", "the times of the 1 newest events seem to have the right unit"),
        ("ok", "the times of the 1 newest labels seem to have the right unit"),
    ]
    assert times([], []) == []


def test_bounds_are_proposed_for_numbers_without_any() -> None:
    events = [record(event(number)) for number in range(97)]
    pipeline = complete(small_pipeline())
    (found,) = evaluate_numbers(pipeline, events, NO_SCHEMAS)
    assert found.level == "ok"
    assert 'proposal for `clean`: Between("amount", 0, ' in found.message
    assert [one.level for one in evaluate_numbers(pipeline, [], NO_SCHEMAS)] == ["skipped"]
