"""Identity in a record that may be invalid otherwise, in the pipeline's form or a source's."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from stream_app import Constant, Coordinates, RecordKey, Source
from stream_app.core.reading.record_identity import IdentityReader
from stream_app.headers import SOURCE, SOURCE_KEY, VALUE_SCHEMA_ID
from stream_app.records import Record
from tests.small_pipeline import event, label, record, small_pipeline

ORDERS = Source(
    topic="shop.orders",
    name="orders",
    start="earliest",
    fields={"id": "order.id", "country": "order.buyer"},
)
VERDICTS = Source(
    topic="shop.verdicts",
    name="verdicts",
    start="earliest",
    fields={"id": "order", "country": "buyer"},
)
# Another field has the name of the id.
ORDER: dict[str, Any] = {"id": "no", "order": {"id": "o1", "buyer": "NL"}, "amount": "broken"}


def reader(*, of_label: bool = False, **changes: Any) -> IdentityReader:
    declared = {
        "key": "country",
        "sources": (ORDERS,),
        "label": replace(small_pipeline().label, sources=(VERDICTS,)),
        **changes,
    }
    return IdentityReader(small_pipeline(**declared), label=of_label)


def forwarded(value: Any, source: str = "orders", topic: str = "payments.raw") -> Record:
    headers = ((SOURCE, f"{source}/3/17/0".encode()),)
    content = value if isinstance(value, bytes) else orjson.dumps(value)
    return Record(topic, 0, 1, 0, b"NL", content, headers)


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({}, b"NL", ("NL", "e1")),
        # Invalid for other reasons: the fields of key and id count, not the Kafka key.
        ({"amount": "broken"}, b"wrong", ("NL", "e1")),
        ({"country": None}, b"k", ("k", "e1")),
        ({"id": 7}, b"k", ("NL", "7")),
        ({"id": None}, b"k", ("NL", None)),
        ({"country": 7}, None, (None, "e1")),
        ({"country": 7}, b"\xff", ("\ufffd", "e1")),
    ],
)
def test_a_record_of_the_pipelines_form(
    changes: dict[str, Any], key: bytes | None, expected: tuple[str | None, str | None]
) -> None:
    assert reader().read(record(event(1, **changes), key=key)) == expected


@pytest.mark.parametrize("value", [None, b"", b"{broken", b"[1]", b"\0\0\0\0\7\2"])
def test_an_unreadable_record_has_only_its_kafka_key(value: bytes | None) -> None:
    assert reader().read(record(value, key=b"NL")) == ("NL", None)
    by_default = reader(key=None, sources=(), label=small_pipeline().label)
    assert by_default.read(record(value, key=b"e1")) == ("e1", "e1")
    assert reader().read(forwarded(value or b"")) == ("NL", None)


def test_a_label_without_the_fields_of_the_key_has_its_kafka_key() -> None:
    assert reader(of_label=True).read(record(label(1), key=b"NL")) == ("NL", "e1")


def test_several_fields_have_one_text() -> None:
    found = reader(event_id=("id", "country"), key=("country", "id"), sources=())
    assert found.read(record(event(1, id="a/b"))) == ("NL/a\\/b", "a\\/b/NL")


def test_a_forwarded_record_is_read_as_its_source_declares() -> None:
    assert reader().read(forwarded(ORDER)) == ("NL", "o1")
    verdict = {"order": "o1", "buyer": "DE"}
    assert reader(of_label=True).read(forwarded(verdict, "verdicts")) == ("DE", "o1")
    assert reader().read(forwarded(ORDER, "nobody")) == ("NL", None)
    assert reader().read(forwarded(ORDER)._replace(headers=((SOURCE, b"x"),))) == ("NL", None)
    framed = forwarded(ORDER)
    framed = framed._replace(headers=(*framed.headers, (VALUE_SCHEMA_ID, b"x")))
    assert reader().read(framed) == ("NL", None)


def test_a_record_that_ingest_did_not_forward_has_the_key_of_the_source() -> None:
    """Its Kafka key is no key of the pipeline."""
    sent = forwarded(ORDER, topic="shop.orders")._replace(key=b"theirs")
    assert reader().read(sent) == ("NL", "o1")
    without = forwarded({"order": {"id": "o1"}}, topic="shop.orders")._replace(key=b"theirs")
    without_default = replace(ORDERS, fields={"id": "order.id", "country": "order.buyer.name"})
    assert reader(sources=(without_default,)).read(without) == (None, "o1")
    by_key = replace(ORDERS, fields={"id": "order.id", "country": RecordKey()})
    assert reader(sources=(by_key,)).read(sent) == ("theirs", "o1")


def test_key_and_id_may_come_from_the_kafka_record() -> None:
    source = replace(ORDERS, fields={"id": Coordinates(), "country": RecordKey()})
    sent = forwarded({})
    sent = sent._replace(headers=(*sent.headers, (SOURCE_KEY, b"theirs")))
    assert reader(sources=(source,)).read(sent) == ("theirs", "orders/3/17")
    constant = replace(ORDERS, fields={"id": "order.id", "country": Constant("BE")})
    assert reader(sources=(constant,)).read(forwarded(ORDER)) == ("BE", "o1")
