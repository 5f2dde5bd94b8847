"""Mistakes in the declaration of sources: each is one line with its remedy."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.errors import PipelineError
from stream_app.loading import complete, load_pipeline
from stream_app.pipeline import Pipeline
from stream_app.sources import (
    Constant,
    Coordinates,
    EnvelopeField,
    Epoch,
    LocalTime,
    RecordKey,
    RecordTimestamp,
    Source,
)
from tests.small_pipeline import EVENT_SCHEMA, LABEL_SCHEMA, small_pipeline


def source(**changes: Any) -> Source:
    return Source(**{"topic": "shop.orders", "start": "earliest", **changes})


def completed(*sources: Any, labels: tuple[Any, ...] = (), **changes: Any) -> Pipeline:
    """Return the pipeline with sources of events and of labels."""
    label = replace(changes.pop("label", small_pipeline().label), sources=labels)
    return complete(small_pipeline(sources=sources, label=label, **changes), with_model=False)


def error(*sources: Any, labels: tuple[Any, ...] = (), **changes: Any) -> str:
    """Return message and remedy of the error, one line."""
    with pytest.raises(PipelineError) as raised:
        completed(*sources, labels=labels, **changes)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_a_whole_declaration_is_valid() -> None:
    declared = source(
        name="orders",
        start=datetime(2024, 1, 1, tzinfo=UTC),
        fields={
            "id": Coordinates(),
            "at": Epoch("payment.ts", "ms"),
            "amount": Constant(1),
            "country": RecordKey(),
        },
        where=lambda record: bool(record["kind"] == "order"),
        envelope="debezium",
        updates="events",
    )
    assert completed(declared).sources == (declared,)
    other = source(topic="Shop", name="shop", fields={"at": RecordTimestamp()}, format="avro")
    assert completed(declared, other).sources[1].source_name == "shop"
    local = source(fields={"at": LocalTime("t", zone="Europe/Berlin")})
    assert completed(local).sources[0].source_name == "shop.orders"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"topic": "a b"},
            "sources[0].topic 'a b' cannot be the name of a topic. Give the full name of the topic",
        ),
        ({"topic": ".."}, "sources[0].topic '..' cannot be the name of a topic"),
        ({"topic": 7}, "sources[0].topic is of type int. Give sources[0].topic as a string"),
        (
            {"topic": "Orders"},
            "sources[0].name 'Orders' cannot be the name of a source. Set name to up to 100 "
            "lower-case letters, digits, dots, hyphens and underscores",
        ),
        ({"name": "a/b"}, "sources[0].name 'a/b' cannot be the name of a source"),
        (
            {"topic": "payments.raw"},
            "sources[0].topic payments.raw is a topic of the pipeline itself. "
            "Leave the source out: what is sent there is read without one",
        ),
        (
            {"start": "beginning"},
            "sources[0].start is 'beginning'. "
            'Set start to "earliest", "latest" or a datetime with a time zone',
        ),
        ({"start": datetime(2024, 1, 1)}, "sources[0].start has no time zone"),
        ({"format": "xml"}, "sources[0].format is 'xml'. Choose from 'json', 'avro'"),
        (
            {"envelope": "maxwell"},
            "sources[0].envelope is 'maxwell'. Choose from None, 'debezium', 'connect'",
        ),
        ({"updates": "all"}, "sources[0].updates is 'all'. Choose from 'dropped', 'events'"),
        (
            {"envelope": "connect", "format": "avro"},
            'sources[0].envelope is "connect", but Avro has no such envelope. Leave envelope out',
        ),
        (
            {"updates": "events"},
            "sources[0].updates is declared without Debezium's envelope. "
            'Declare envelope="debezium", or leave updates out',
        ),
        (
            {"updates": "events", "envelope": "debezium"},
            'sources[0].updates is "events", but an update has the event id of the row that it '
            "changes. Take a field of event_id from Coordinates(), or from the log position, as in "
            'EnvelopeField("source.lsn"); or set updates to "dropped"',
        ),
        (
            {"where": True},
            "sources[0].where is not callable. Give a function of the record, as in "
            "where=lambda record: record['kind'] == 'order'",
        ),
        (
            {"fields": [("id", "a")]},
            "sources[0].fields is of type list. "
            "Give sources[0].fields as a dict of origins by field",
        ),
        (
            {"fields": {"amont": "total"}},
            "sources[0].fields['amont'] is not a field of the schema; the nearest is amount. "
            "Choose from id, at, amount, country",
        ),
        (
            {"fields": {"at": RecordTimestamp}},
            "sources[0].fields['at'] is of type type. Give a path such as \"order.id\", ",
        ),
        (
            {"fields": {"id": "order..id"}},
            "sources[0].fields['id']: 'order..id' is not a path. Give the names of nested records "
            'and of the field, as in "order.id"',
        ),
        ({"fields": {"at": Epoch("", "s")}}, "sources[0].fields['at']: '' is not a path"),
        (
            {"fields": {"at": Epoch("t", "min")}},  # type: ignore[arg-type]
            "sources[0].fields['at']: the unit 'min' is not known. Choose from s, ms, us, ns",
        ),
        (
            {"fields": {"at": LocalTime("t", zone="Europe/Berlim")}},
            "sources[0].fields['at']: the time zone 'Europe/Berlim' is not known; "
            "the nearest is Europe/Berlin. Give a name of the time zone database, such as "
            "Europe/Berlin",
        ),
        ({"fields": {"at": LocalTime("t", zone="Europe")}}, "the time zone 'Europe' is not known"),
        ({"fields": {"at": LocalTime("t", zone="../x")}}, "the time zone '../x' is not known"),
        ({"fields": {"at": LocalTime("t", zone="")}}, "the time zone '' is not known"),
        (
            {"fields": {"country": Epoch("t", "s")}},
            "sources[0].fields['country'] gives Unix milliseconds, but the field has another type. "
            'Declare it as {"type": "long", "logicalType": "timestamp-millis"}',
        ),
        (
            {"fields": {"amount": Coordinates()}},
            "sources[0].fields['amount'] gives text, but the field has another type. "
            "Declare it as string",
        ),
        (
            {"fields": {"amount": Constant("much")}},
            "sources[0].fields['amount']: field amount: expected double, got string. "
            "Give a constant of the field's type",
        ),
        (
            {"fields": {"id": EnvelopeField("source.lsn")}},
            "sources[0].fields['id'] is a field of Debezium's envelope, which the source does not "
            'have. Declare envelope="debezium", or give the path alone',
        ),
    ],
)
def test_a_mistake_in_a_source(changes: dict[str, Any], message: str) -> None:
    assert message in error(source(**changes))


@pytest.mark.parametrize("unit", ["micros", "nanos", "seconds"])
def test_milliseconds_need_a_field_that_is_read_as_milliseconds(unit: str) -> None:
    declared: dict[str, Any] = EVENT_SCHEMA
    other = {"type": "long", "logicalType": f"timestamp-{unit}"}
    fields = [
        {**field, "type": other} if field["name"] == "at" else field for field in declared["fields"]
    ]
    schema = {**declared, "fields": fields}
    found = error(source(fields={"at": Epoch("t", "s")}), schema=schema)
    assert "gives Unix milliseconds, but the field has another type" in found


def test_sources_are_a_tuple_of_sources() -> None:
    with pytest.raises(PipelineError, match=r"sources is of type list\. Give sources as a tuple"):
        complete(small_pipeline(sources=[source()]), with_model=False)
    assert error("shop.orders") == (
        "sources[0] is of type str. Give sources[0] as stream_app.Source(...)"
    )


def test_a_pipeline_has_no_more_sources_than_its_clock_knows() -> None:
    many = [source(topic=f"shop.{number}") for number in range(65)]
    assert len(completed(*many[:64]).sources) == 64
    expected = "sources has 65 sources, and the clock of a pipeline knows 64"
    assert expected in error(*many)
    assert f"label.{expected}" in error(labels=tuple(many))


def test_names_and_topics_are_unique_among_events_and_labels() -> None:
    same_name = source(topic="shop.verdicts", name="shop.orders")
    assert error(source(), labels=(same_name,)) == (
        "two sources have the name shop.orders. Give each source another name"
    )
    assert error(source(), source(name="other")) == (
        "two sources have the topic shop.orders. Declare each topic once, for events or for labels"
    )


def test_a_source_of_labels_carries_the_key() -> None:
    verdicts = source(topic="shop.verdicts")
    assert error(labels=(verdicts,), key=("country", "id")) == (
        "label.sources[0] does not carry the key: 'country' is neither in label.schema nor in "
        "fields. Name it in fields, as in {'country': RecordKey()} or with a path; or key the "
        "pipeline by its event id: leave key out"
    )
    with_key = replace(verdicts, fields={"country": RecordKey()})
    assert completed(labels=(with_key,), key=("country", "id")).label.sources == (with_key,)
    assert completed(labels=(verdicts,)).label.sources == (verdicts,)
    schema: Any = {
        **LABEL_SCHEMA,
        "fields": [*LABEL_SCHEMA["fields"], {"name": "country", "type": "string"}],
    }
    label = replace(small_pipeline().label, schema=schema)
    assert completed(labels=(verdicts,), label=label, key="country").label.sources == (verdicts,)


def test_the_coordinates_of_a_label_are_not_those_of_its_event() -> None:
    verdicts = source(topic="shop.verdicts", fields={"id": Coordinates()})
    assert error(labels=(verdicts,)) == (
        "label.sources[0].fields['id'] gives the coordinates of the label, not of its event. "
        "Give the path of the event's coordinates in the label, which are its event_id in scored "
        "records"
    )


def test_a_field_of_labels_is_one_of_their_schema() -> None:
    verdicts = source(topic="shop.verdicts", fields={"amount": "total"})
    assert "label.sources[0].fields['amount'] is not a field of the schema" in error(
        labels=(verdicts,)
    )


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (("id", 7), "key has a value of type int"),
        (("id", "id"), "key has 'id' twice. Name each field once"),
        (["id"], "key is of type list"),
        (("id", "city"), "key 'city' is not a field of schema. Choose from id, at, amount, "),
        (("id", "amount"), "key 'amount' has type double in schema"),
    ],
)
def test_a_mistake_in_a_key_of_several_fields(declared: Any, message: str) -> None:
    assert message in error(key=declared)


def test_an_event_id_has_a_field() -> None:
    assert error(event_id=()).startswith("event_id is an empty tuple. Give event_id as the name")


def test_every_field_of_the_event_id_is_in_the_label() -> None:
    assert error(event_id=("id", "country")) == (
        "event_id 'country' is not a field of label.schema. Choose from id, fraud, known_at"
    )


FILE = """
from stream_app import Coordinates, Epoch, Source
source = Source({})
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('topic="a"', 'Source lacks start. Set start to "earliest", "latest" or a datetime'),
        ('topic="a", strat="x"', "Source: unknown field strat; the nearest is start"),
        ('"a"', "Source has a value without the name of its field. Write field=value for each"),
        (
            'topic="a", start="latest", fields={"id": Coordinates("x")}',
            "Coordinates takes no value",
        ),
        ('topic="a", start="latest", fields={"at": Epoch("x")}', "Epoch lacks unit"),
    ],
)
def test_a_mistake_in_the_file(text: str, message: str, tmp_path: Any) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(FILE.format(text))
    with pytest.raises(PipelineError) as raised:
        load_pipeline(str(path))
    assert message in str(raised.value)


def test_the_fingerprint_covers_what_changes_fields() -> None:
    fields = {"id": "order.id"}
    first = fingerprint(completed(source(fields=fields)))
    assert first != fingerprint(completed())
    same = [
        source(fields=fields, start="latest"),
        source(fields=fields, topic="shop.orders2", name="other"),
        source(fields=fields, where=lambda _: True),
    ]
    assert {fingerprint(completed(one)) for one in same} == {first}
    assert fingerprint(completed(*same[:2])) == first
    different = [
        source(fields={"id": "order.number"}),
        source(fields=fields, envelope="connect"),
        source(fields={**fields, "at": Epoch("at", "s")}),
        source(fields={**fields, "at": Epoch("at", "ms")}),
    ]
    found = {fingerprint(completed(one)) for one in different}
    assert len(found) == 4
    assert first not in found
