"""The newest records of a source say what is wrong with its declaration before anything runs."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from stream_app.core.reading.decoding import NO_SCHEMAS
from stream_app.core.reading.source_values import UNIT_NAMES
from stream_app.doctor.source_checks import evaluate_source
from stream_app.loading import complete
from stream_app.pipeline import Pipeline
from stream_app.records import Record
from stream_app.sources import Epoch, FieldOrigin, RecordKey, Source, Unit
from tests.small_pipeline import NOW, small_pipeline

SECONDS = NOW // 1000


def orders(unit: Unit = "s", path: str = "order.id", **changes: Any) -> Source:
    fields: dict[str, FieldOrigin] = {"id": path, "at": Epoch("ts", unit)}
    return Source(topic="shop.orders", name="o", start="earliest", fields=fields, **changes)


def pipeline_of(source: Source) -> Pipeline:
    return complete(small_pipeline(sources=(source,)))


def sent(*values: dict[str, Any] | None) -> list[Record]:
    return [
        Record("shop.orders", 0, at, NOW, b"k", None if value is None else orjson.dumps(value))
        for at, value in enumerate(values)
    ]


def order(**changes: Any) -> dict[str, Any]:
    return {"order": {"id": "o1"}, "ts": SECONDS, "amount": 1.0, **changes}


def found(source: Source, records: list[Record]) -> list[tuple[str, str]]:
    results = evaluate_source(pipeline_of(source), source, records, NO_SCHEMAS, labels=False)
    return [(one.level, one.message) for one in results]


def test_records_that_are_read_are_counted_by_outcome() -> None:
    source = orders(where=lambda record: "refund" not in record)
    assert found(source, sent(order(), order(), order(refund=1), None)) == [
        ("ok", "the 4 newest records of shop.orders would be: 2 events, 1 filtered, 1 tombstone")
    ]
    assert found(source, []) == [("skipped", "shop.orders has no record to read as events")]


def test_a_path_that_is_not_there_is_named_with_the_number_of_records() -> None:
    (wrong,) = found(orders(path="order.number"), sent(order(), order()))
    assert wrong == (
        "warning",
        "2 of the 2 newest records of shop.orders would be dead letters: missing-field, field id "
        "is missing (source o: order.number)",
    )


def test_what_the_scorer_rejects_is_named_too() -> None:
    assert found(orders(), sent(order(), order(amount="many"))) == [
        (
            "warning",
            "1 of the 2 newest records of shop.orders would be dead letters: wrong-type, field "
            "amount: expected double, got string (source o: amount)",
        ),
        ("ok", "the 2 newest records of shop.orders would be: 1 event"),
    ]


UNITS: dict[Unit, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize("sent_in", UNITS)
@pytest.mark.parametrize("declared", UNITS)
def test_every_wrong_unit_is_named(sent_in: Unit, declared: Unit) -> None:
    ((level, text),) = found(orders(declared), sent(order(ts=SECONDS * UNITS[sent_in])))
    if sent_in == declared:
        assert (level, "1 event" in text) == ("ok", True)
    elif UNITS[sent_in] < UNITS[declared]:
        assert (level, text) == (
            "warning",
            "the time of 1 of the 1 newest records of shop.orders is in January 1970, as if its "
            "unit were wrong by a factor of 1,000 or more",
        )
    else:
        assert level == "warning"
        assert f"after the year 9999 in UTC, read as {UNIT_NAMES[declared]} (source o: ts)" in text


def test_a_rejected_time_is_named() -> None:
    ((level, text),) = found(orders("s"), sent(order(ts="soon")))
    assert (level, "event-time-invalid" in text) == ("warning", True)
    assert "not a number of seconds since 1970 but string (source o: ts)" in text


def test_a_filter_that_passes_nothing_is_named() -> None:
    assert found(orders(where=lambda record: False), sent(order(), order())) == [
        ("warning", "all 2 newest records of shop.orders are left out by the filter")
    ]


def test_labels_are_read_as_labels() -> None:
    verdicts = Source(topic="shop.orders", name="v", start="earliest", fields={"id": RecordKey()})
    label = replace(small_pipeline().label, sources=(verdicts,))
    pipeline = complete(small_pipeline(label=label))
    records = sent({"fraud": True, "known_at": NOW}, {"fraud": 1, "known_at": NOW})
    results = evaluate_source(pipeline, verdicts, records, NO_SCHEMAS, labels=True)
    assert [one.message.rpartition(" would be")[2] for one in results] == [
        " dead letters: wrong-type, field fraud: expected boolean, got integer (source v: fraud)",
        ": 1 label",
    ]
