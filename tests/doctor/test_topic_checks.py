"""The newest records tell times of a wrong unit, and bounds of numbers."""

from dataclasses import replace
from typing import Any

from stream_app.core.reading.decoding import NO_SCHEMAS
from stream_app.doctor.topic_checks import evaluate_labels, evaluate_numbers, evaluate_times
from stream_app.loading import complete
from stream_app.records import Record
from tests.small_pipeline import NOW, event, label, labelled, record, small_pipeline


def times(events: list[Record], labels: list[Record]) -> list[tuple[str, str]]:
    found = evaluate_times(complete(small_pipeline()), events, labels, NO_SCHEMAS)
    return [(result.level, result.message) for result in found]


def labels_at(*known_at: int) -> list[Record]:
    fields: list[Any] = [label(number, time) for number, time in enumerate(known_at)]
    return [record(each, topic="payments.labels") for each in fields]


def test_times_in_seconds_are_a_warning() -> None:
    suspicion = "is in January 1970, as if its unit were wrong by a factor of 1,000 or more"
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


def test_times_in_another_unit_that_are_rejected_are_a_warning() -> None:
    found = times([record(event(1, NOW * 1000)), record(event(2, NOW * 1000))], labels_at(NOW))
    assert found[0] == (
        "warning",
        "2 of the newest events are rejected: field at: expected timestamp (ISO 8601 with offset, "
        "or integer), got integer that seems to be in microseconds, not in milliseconds",
    )


def test_labels_that_mean_neither_true_nor_false_are_a_warning() -> None:
    declared = complete(small_pipeline(label=replace(labelled("int"), positive=1)))
    labels = [record(label(number, fraud=number), topic="payments.labels") for number in range(4)]
    (found,) = evaluate_labels(declared, labels, NO_SCHEMAS)
    assert (found.level, found.message) == (
        "warning",
        "2 of the 4 newest labels are rejected: field fraud has a value that means neither true "
        "nor false",
    )
    assert list(evaluate_labels(declared, labels[:2], NO_SCHEMAS)) == []
