"""Selection: the fields of a source as declared, on both paths, and what ingest forwards."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import floor, isfinite
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading.decoding import decode_leniently
from stream_app.core.reading.event_time import FIRST_MS, LAST_MS
from stream_app.core.reading.record_reader import EventReader, LabelReader
from stream_app.core.reading.selected_decoding import compile_selected_decoder
from stream_app.core.reading.selection import Forwarded, SourceIntake, SourceReader
from stream_app.core.reading.validator import compile_validator
from stream_app.error_codes import UNREADABLE
from stream_app.headers import ERROR_CODE, SOURCE, SOURCE_KEY, SourcePosition
from stream_app.loading import complete
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Fields, Record, UnreadableRecord
from stream_app.sources import (
    Constant,
    Coordinates,
    EnvelopeField,
    Epoch,
    FieldOrigin,
    LocalTime,
    RecordKey,
    RecordTimestamp,
    Source,
)
from tests.small_pipeline import NOW, small_pipeline

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
POSITION = SourcePosition("orders", 3, 1234, NOW)
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "customer", "type": ["null", "string"], "default": None},
        {"name": "amount", "type": "double", "default": 1.5},
        {"name": "count", "type": "int"},
        {"name": "paid_at", "type": ["null", MILLIS], "default": None},
        {"name": "created", "type": MILLIS},
        {"name": "currency", "type": "string"},
        {"name": "read_at", "type": "long"},
        {"name": "place", "type": "string"},
        {"name": "sent_key", "type": ["null", "string"], "default": None},
    ],
}
ORIGINS: dict[str, FieldOrigin] = {
    "id": "order.id",
    "customer": "order.buyer.id",
    "amount": "total",
    "paid_at": Epoch("payment.ts", "s"),
    "created": LocalTime("created on", zone="Europe/Berlin"),
    "currency": Constant("EUR"),
    "read_at": RecordTimestamp(),
    "place": Coordinates(),
    "sent_key": RecordKey(),
}
ROW = {
    "order": {"id": "o1", "buyer": {"id": "c1", "name": "Ann"}, "lines": [1, 2]},
    "total": 12,
    "count": 2,
    "payment": {"ts": 1_700_000_000, "by": "card"},
    "created on": "2023-07-01T02:00:00",
    "unknown": {"deep": [None]},
}
SELECTED = {
    "id": "o1",
    "customer": "c1",
    "amount": 12.0,
    "count": 2,
    "paid_at": 1_700_000_000_000,
    "created": 1_688_169_600_000,
    "currency": "EUR",
    "read_at": NOW,
    "place": "orders/3/1234",
    "sent_key": "k",
}


def source(**changes: Any) -> Source:
    """Return a source of the schema."""
    return Source(
        **{"topic": "shop.orders", "name": "orders", "start": "earliest", "fields": ORIGINS}
        | changes
    )


def sent(value: object, key: bytes | None = b"k", position: SourcePosition = POSITION) -> Record:
    """Return a forwarded record."""
    headers = [(SOURCE, position.header()), (SOURCE_KEY, key), ("trace", b"1")]
    encoded = value if isinstance(value, bytes) else orjson.dumps(value)
    return Record("payments.raw", 0, 7, 0, b"o1", encoded, headers)


def read(value: object, **changes: Any) -> Fields | Failure:
    return SourceReader(source(**changes), SCHEMA, "paid_at").read(sent(value), POSITION)


# The specification: one field after the other, by plain loops.


def at_path(row: Any, path: str) -> tuple[str, Any]:
    """Return ("found", value), ("missing", None) or ("wrong", None)."""
    for part in path.split("."):
        if row is None:
            return "missing", None
        if not isinstance(row, dict):
            return "wrong", None
        if part not in row:
            return "missing", None
        row = row[part]
    return "found", row


def milliseconds(value: Any, unit: str) -> int | None:
    """Return Unix milliseconds, None for a value that is no such time."""
    if type(value) not in (int, float) or not isfinite(value):
        return None
    per_second = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    if per_second <= 1000:
        scaled = value * (1000 // per_second)
        time = scaled if type(value) is int else round(scaled) if isfinite(scaled) else None
    else:
        divisor = per_second // 1000
        time = value // divisor if type(value) is int else floor(value / divisor)
    return time if time is not None and FIRST_MS <= time <= LAST_MS else None


def local_milliseconds(value: Any, zone: str) -> int | None:
    """Return Unix milliseconds of a text without an offset."""
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            time = time.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        found = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    except (ValueError, TypeError, OverflowError):
        return None
    return found


def specified(row: Any, key: bytes | None, position: SourcePosition) -> Fields | str:
    """Return the fields of a record, or "failed"."""
    found: Fields = {}
    for name in (field["name"] for field in SCHEMA["fields"]):
        origin = ORIGINS.get(name, name)
        value: Any
        match origin:
            case Constant():
                found[name] = origin.value
            case RecordTimestamp():
                if position.timestamp >= 0:
                    found[name] = position.timestamp
            case Coordinates():
                found[name] = f"{position.source}/{position.partition}/{position.offset}"
            case RecordKey():
                if key is not None and key.startswith(b"\0"):
                    return "failed"
                try:
                    found |= {} if key is None else {name: key.decode()}
                except UnicodeDecodeError:
                    return "failed"
            case str() | Epoch() | LocalTime():
                path = origin if isinstance(origin, str) else origin.path
                state, value = at_path(row, path)
                if state == "wrong":
                    return "failed"
                if state == "missing":
                    continue
                if value is not None and isinstance(origin, Epoch):
                    value = milliseconds(value, origin.unit)
                    if value is None:
                        return "failed"
                if value is not None and isinstance(origin, LocalTime):
                    value = local_milliseconds(value, origin.zone)
                    if value is None:
                        return "failed"
                found[name] = value
    validated = compile_validator(SCHEMA)(found)
    return "failed" if isinstance(validated, Failure) else validated


NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([1_700_000_000, 1_700_000_000.25, 0, -1, 253_402_300_799, 253_402_300_800])
)
JUNK = st.none() | st.booleans() | NUMBERS | st.text(max_size=3) | st.just([1]) | st.just({"x": 1})
TIMES = (
    st.datetimes().map(datetime.isoformat)
    | st.sampled_from(["2023-10-29T02:30:00", "2023-03-26T02:30:00", "2023-01-01T00:00:00+05:00"])
    | st.sampled_from(["2023-01-01", "soon", "0001-01-01T00:00:00", "9999-12-31T23:59:59.999"])
)


def record_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of records that may lack any field."""
    return st.fixed_dictionaries({}, optional=fields)


ROWS = record_of(
    **{
        "order": JUNK | record_of(id=st.text() | JUNK, buyer=JUNK | record_of(id=st.text())),
        "total": NUMBERS | JUNK,
        "count": st.integers(0, 9) | JUNK,
        "payment": JUNK | record_of(ts=NUMBERS | JUNK),
        "created on": TIMES | JUNK,
        "unknown": JUNK,
    }
) | st.fixed_dictionaries(
    {
        "order": st.fixed_dictionaries({"id": st.text(), "buyer": record_of(id=st.text())}),
        "count": st.integers(0, 9),
        "payment": record_of(ts=st.integers(0, 2**31)),
        "created on": TIMES,
    }
)
KEYS = st.none() | st.text().map(str.encode) | st.sampled_from([b"\xff", b"\0\0\0\0\7\2a"])
POSITIONS = st.builds(
    SourcePosition,
    st.just("orders"),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from([-1, 5]),
)


@given(ROWS, KEYS, POSITIONS)
def test_selection_equals_its_specification(
    row: dict[str, Any], key: bytes | None, position: SourcePosition
) -> None:
    reader = SourceReader(source(), SCHEMA, "paid_at")
    try:
        value = orjson.dumps(row)
        row = orjson.loads(value)
    except TypeError:  # a number that JSON does not have
        return
    found = reader.read(sent(value, key, position), position)
    expected = specified(row, key, position)
    assert repr("failed" if isinstance(found, Failure) else found) == repr(expected)


BYTES = st.binary(max_size=8) | st.sampled_from(
    [b"1e999", b"9" * 400, b"NaN", b'"\\ud800"', b'"\xff"', b"[" * 2000 + b"]" * 2000, b'"\\x"']
)


@given(BYTES, st.sampled_from([b'{"a": {"b": 1}, "c": %b}', b'{"a": {"b": %b}}', b'{"a": %b}']))
def test_the_fast_path_decides_only_as_the_other_does(inserted: bytes, form: bytes) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "f", "type": "double"}]}
    fast = compile_selected_decoder(schema["fields"], {"f": "a.b"})  # type: ignore[arg-type]
    assert fast is not None
    value = form % inserted
    found = fast(value, POSITION, None)
    if found is None:
        return
    decoded = decode_leniently(value)
    assert not isinstance(decoded, Failure)
    assert repr(found) == repr({"f": float(decoded["a"]["b"])})


def test_a_record_is_selected() -> None:
    assert read(ROW) == SELECTED
    assert list(read(ROW)) == list(SELECTED)


def test_the_fast_path_selects_the_usual_record() -> None:
    fields: Any = SCHEMA["fields"]
    fast = compile_selected_decoder(fields, ORIGINS)
    assert fast is not None
    assert fast(orjson.dumps(ROW), POSITION, b"k") == SELECTED


def test_a_number_that_is_not_finite_is_no_harm_where_nothing_reads_it() -> None:
    value = orjson.dumps(ROW)
    assert read(value[:-1] + b', "other": NaN, "more": 1e999}') == SELECTED
    found = read(value.replace(b'"total":12', b'"total":NaN'))
    assert isinstance(found, Failure)
    assert found == ("not-finite", "field amount is a number that is not finite "
                     "(source orders: total)", None)  # fmt: skip


def without(path: str) -> dict[str, Any]:
    row: dict[str, Any] = orjson.loads(orjson.dumps(ROW))
    *parents, last = path.split(".")
    inner = row
    for part in parents:
        inner = inner[part]
    del inner[last]
    return row


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        (without("order.id"), "missing-field", "field id is missing (source orders: order.id)"),
        (without("order"), "missing-field", "field id is missing (source orders: order.id)"),
        (ROW | {"order": None}, "missing-field", "field id is missing (source orders: order.id)"),
        (
            ROW | {"order": "o1"},
            "wrong-type",
            "field id is inside order, which is string, not a record (source orders: order.id)",
        ),
        (without("count"), "missing-field", "field count is missing (source orders: count)"),
        (
            ROW | {"total": "12"},
            "wrong-type",
            "field amount: expected double, got string (source orders: total)",
        ),
        (
            ROW | {"payment": {"ts": 1_700_000_000_000}},
            "event-time-invalid",
            "field paid_at is after the year 9999 in UTC, read as seconds "
            "(source orders: payment.ts)",
        ),
        (
            ROW | {"payment": {"ts": "1700000000"}},
            "event-time-invalid",
            "field paid_at is not a number of seconds since 1970 but string "
            "(source orders: payment.ts)",
        ),
        (
            ROW | {"created on": "yesterday"},
            "wrong-type",
            "field created is not ISO 8601 (source orders: created on)",
        ),
        ([], "not-an-object", "the value is JSON, but not an object (source orders)"),
    ],
)
def test_a_failure_names_source_and_path(row: object, code: str, message: str) -> None:
    assert read(row) == Failure(code, message)


def test_a_missing_path_gives_the_default() -> None:
    found = read(without("order.buyer"))
    assert isinstance(found, dict)
    assert found["customer"] is None
    found = read(without("total"))
    assert isinstance(found, dict)
    assert found["amount"] == 1.5


BINARY = "begins with byte 0, as Avro and binary numbers do, and is no text"


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (b"\xff", "is not UTF-8"),
        # Text in Avro with the schema 7, and a number of 64 bits: both are UTF-8.
        (b"\0\0\0\0\7\6o-1", BINARY),
        ((7).to_bytes(8, "big"), BINARY),
    ],
)
def test_a_key_that_is_no_text_fails_only_where_it_is_read(key: bytes, problem: str) -> None:
    reader = SourceReader(source(), SCHEMA, "paid_at")
    found = reader.read(sent(ROW, key), POSITION)
    assert found == Failure(
        "wrong-type", f"field sent_key {problem} (source orders: the key of the record)"
    )
    plain = {name: origin for name, origin in ORIGINS.items() if name != "sent_key"}
    reader = SourceReader(source(fields=plain), SCHEMA, "paid_at")
    assert reader.read(sent(ROW, key), POSITION) == {**SELECTED, "sent_key": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Shown twice: the first one, in summer time.
        ("2023-10-29T02:30:00", "2023-10-29T00:30:00+00:00"),
        # Skipped: with the offset from before the change.
        ("2023-03-26T02:30:00", "2023-03-26T01:30:00+00:00"),
        ("2023-01-01T00:00:00.25", "2022-12-31T23:00:00.250+00:00"),
        ("2023-01-01T00:00:00Z", "2023-01-01T00:00:00+00:00"),
        ("2023-01-01", "2022-12-31T23:00:00+00:00"),
    ],
)
def test_local_times(text: str, expected: str) -> None:
    found = read(ROW | {"created on": text})
    assert isinstance(found, dict)
    time = datetime.fromtimestamp(found["created"] / 1000, UTC)
    assert time == datetime.fromisoformat(expected)


# Pipelines with sources.


def pipeline_of(declared: Source, **changes: Any) -> Pipeline:
    return complete(small_pipeline(sources=(declared,), **changes), with_model=False)


PAYMENT = {"pay": {"id": "e1", "ts": 1_700_000_000}, "amount": 2.5, "kind": "order"}
PAYMENTS: dict[str, FieldOrigin] = {"id": "pay.id", "at": Epoch("pay.ts", "s")}


def foreign(value: object, **changes: Any) -> Record:
    """Return a record of the foreign topic."""
    encoded = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    return Record("shop.orders", 3, 1234, NOW, b"k", encoded)._replace(**changes)


def intake(**changes: Any) -> SourceIntake:
    declared = source(**{"fields": PAYMENTS, **changes})
    return SourceIntake(pipeline_of(declared), declared, label=False)


def test_ingest_forwards_with_the_key_and_the_time() -> None:
    headers = [("trace", b"1"), (SOURCE, b"forged/0/0/0"), (ERROR_CODE, b"forged")]
    found = intake().read(foreign(PAYMENT, headers=headers))
    assert found == Forwarded(
        b"e1", NOW, [(SOURCE, b"orders/3/1234/1700000000000"), ("trace", b"1")]
    )


def test_ingest_forwards_the_key_only_if_a_field_comes_from_it() -> None:
    found = intake(fields={**PAYMENTS, "country": RecordKey()}).read(foreign(PAYMENT))
    assert isinstance(found, Forwarded)
    assert found.headers == [(SOURCE, b"orders/3/1234/1700000000000"), (SOURCE_KEY, b"k")]


def test_a_replayed_record_keeps_its_position() -> None:
    found = intake().read(foreign(PAYMENT), position=SourcePosition("orders", 1, 2, 3))
    assert isinstance(found, Forwarded)
    assert found.headers == [(SOURCE, b"orders/1/2/3")]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"{", "invalid-json"),
        (b"", "empty-value"),
        (b"[]", "not-an-object"),
        ({"pay": {"ts": 1}}, "missing-field"),
        ({"pay": {"id": "", "ts": 1}}, "missing-field"),
        ({"pay": {"id": 5, "ts": 1}}, "wrong-type"),
        ({"pay": 5}, "wrong-type"),
        (b"\0\0\0\0\7abc", "unknown-schema"),
    ],
)
def test_a_record_without_a_key_is_a_dead_letter_of_ingest(value: object, code: str) -> None:
    found = intake().read(foreign(value))
    assert isinstance(found, Failure)
    assert found.code == code
    assert "source orders" in found.message


def test_an_unreadable_record_is_a_dead_letter_of_ingest() -> None:
    found = intake().read(UnreadableRecord("shop.orders", 3, 1234, -1, None, None))
    assert isinstance(found, Failure)
    assert found.code == UNREADABLE


def test_a_null_value_is_a_tombstone() -> None:
    assert intake().read(foreign(None)) == "tombstone"


@pytest.mark.parametrize("pay", [{"id": "e1"}, {"id": "e1", "ts": "x"}, {"id": "e1", "ts": 1e300}])
def test_a_record_without_a_time_is_forwarded_for_the_scorer_to_report(pay: Any) -> None:
    value = PAYMENT | {"pay": pay}
    declared = source(fields=PAYMENTS)
    pipeline = pipeline_of(declared)
    found = SourceIntake(pipeline, declared, label=False).read(foreign(value))
    assert isinstance(found, Forwarded)
    assert (found.key, found.time) == (b"e1", None)
    raw = Record("payments.raw", 0, 0, 0, found.key, orjson.dumps(value), found.headers)
    event = EventReader(pipeline).read(raw, NOW)
    assert isinstance(event, Failure)
    assert event.code in ("missing-field", "event-time-invalid")


@pytest.mark.parametrize("kind", ["order", "refund", 7, None])
def test_the_filter_decides(kind: Any) -> None:
    filtered = intake(where=lambda record: bool(record["kind"] == "order"))
    found = filtered.read(foreign(PAYMENT | {"kind": kind}))
    assert isinstance(found, Forwarded) if kind == "order" else found == "filtered"


def test_a_filter_that_raises_or_gives_no_boolean_fails() -> None:
    def where(record: Mapping[str, Any]) -> bool:
        answer: bool = record["kind"]
        return answer

    found = intake(where=where).read(foreign({"pay": {"id": "e1", "ts": 1}}))
    assert isinstance(found, Failure)
    assert found[:2] == ("filter-failed", "KeyError in the filter (source orders)")
    found = intake(where=where).read(foreign(PAYMENT))
    assert isinstance(found, Failure)
    assert found[:2] == ("filter-failed", "the filter returned str, not bool (source orders)")


def test_fields_of_the_key_have_one_text_in_ingest_and_scorer() -> None:
    declared = source(fields={"id": "pay.id", "at": Epoch("pay.ts", "s"), "country": "to/land"})
    small = small_pipeline().label
    schema: Any = small.schema
    fields = [*schema["fields"], {"name": "country", "type": "string"}]
    pipeline = pipeline_of(
        declared,
        key=("country", "id"),
        event_id=("id", "country"),
        label=replace(small, schema={**schema, "fields": fields}),
    )
    value = PAYMENT | {"to/land": "N/L"}
    found = SourceIntake(pipeline, declared, label=False).read(foreign(value))
    assert isinstance(found, Forwarded)
    assert found.key == b"N\\/L/e1"
    raw = Record("payments.raw", 0, 0, 0, found.key, orjson.dumps(value), found.headers)
    event = EventReader(pipeline).read(raw, NOW)
    assert not isinstance(event, Failure)
    assert event.event_id == "e1/N\\/L"
    assert event.origin == SourcePosition("orders", 3, 1234, NOW)
    other = EventReader(pipeline).read(raw._replace(key=b"NL/e1"), NOW)
    assert other == Failure(
        "key-mismatch", "the key is not that of field country, id (source orders)"
    )


DEBEZIUM = source(fields=PAYMENTS, envelope="debezium")


def change(op: str, **parts: Any) -> dict[str, Any]:
    """Return a change event of Debezium."""
    source_block = {"lsn": 77, "ts_ms": 5}
    return {"before": None, "after": PAYMENT, "source": source_block, "op": op, **parts}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("op", "updates", "outcome"),
    [
        ("c", "dropped", "forwarded"),
        ("r", "dropped", "forwarded"),
        ("u", "dropped", "filtered"),
        ("u", "events", "forwarded"),
        ("d", "dropped", "tombstone"),
        ("d", "events", "tombstone"),
        ("t", "dropped", "filtered"),
        ("m", "events", "filtered"),
    ],
)
def test_the_operations_of_debezium(op: str, updates: Any, outcome: str, wrapped: bool) -> None:
    fields: dict[str, FieldOrigin] = {
        "id": EnvelopeField("source.lsn") if updates == "events" else "pay.id",
        "at": Epoch("pay.ts", "s"),
    }
    schema = {
        **small_pipeline().schema,  # type: ignore[dict-item]
        "fields": [
            {"name": "id", "type": "long" if updates == "events" else "string"},
            *small_pipeline().schema["fields"][1:],  # type: ignore[index]
        ],
    }
    declared = source(fields=fields, envelope="debezium", updates=updates)
    value: Any = change(op)
    value = {"schema": {}, "payload": value} if wrapped else value
    pipeline = pipeline_of(declared, schema=schema)
    found = SourceIntake(pipeline, declared, label=False).read(foreign(value))
    if outcome != "forwarded":
        assert found == outcome
        return
    assert isinstance(found, Forwarded)
    assert found.key == (b"77" if updates == "events" else b"e1")
    raw = Record("payments.raw", 0, 0, 0, found.key, orjson.dumps(value), found.headers)
    event = EventReader(pipeline).read(raw, NOW)
    assert not isinstance(event, Failure)
    assert event.fields["amount"] == 2.5


@pytest.mark.parametrize(
    ("envelope", "value", "message"),
    [
        ("debezium", PAYMENT, "the record has no op of Debezium: c, r, u, d, t or m"),
        ("debezium", change("c", after=None), "after of the envelope is not a record"),
        ("debezium", change("x"), "the record has no op of Debezium: c, r, u, d, t or m"),
        ("connect", PAYMENT, "the record has no schema and payload"),
        ("connect", {"schema": 1, "payload": []}, "payload of the envelope is not a record"),
    ],
)
def test_another_envelope_than_declared_fails(envelope: Any, value: Any, message: str) -> None:
    found = intake(envelope=envelope).read(foreign(value))
    assert found == Failure("invalid-envelope", f"{message} (source orders)")


def test_the_envelope_of_connect_is_unwrapped() -> None:
    found = intake(envelope="connect").read(foreign({"schema": {}, "payload": PAYMENT}))
    assert isinstance(found, Forwarded)
    assert found.key == b"e1"
    found = intake(envelope="connect").read(foreign({"schema": None, "payload": None}))
    assert found == "tombstone"


def test_the_filter_sees_the_row() -> None:
    seen = []

    def where(record: dict[str, Any]) -> bool:
        seen.append(record)
        return True

    intake(envelope="debezium", where=where).read(foreign(change("c")))
    assert seen == [PAYMENT]


# The readers of the scorer.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"other/0/1/2", "header stream-app-source names no source of the pipeline"),
        (b"orders/0/1", "header stream-app-source is not name/partition/offset/timestamp"),
        (b"\xff", "header stream-app-source is not name/partition/offset/timestamp"),
        (None, "header stream-app-source is not name/partition/offset/timestamp"),
    ],
)
def test_a_header_that_names_no_source_is_a_dead_letter(
    content: bytes | None, message: str
) -> None:
    pipeline = pipeline_of(source(fields=PAYMENTS))
    for headers in ([(SOURCE, content)], [("trace", b"1"), (SOURCE, content)]):
        raw = Record("payments.raw", 0, 0, 0, b"e1", orjson.dumps(PAYMENT), headers)
        assert EventReader(pipeline).read(raw, NOW) == Failure("unknown-source", message)
        assert LabelReader(pipeline).read(raw, NOW) == Failure("unknown-source", message)


def test_the_header_may_follow_others() -> None:
    pipeline = pipeline_of(source(fields=PAYMENTS))
    headers = [("trace", b"1"), (SOURCE, POSITION.header())]
    raw = Record("payments.raw", 0, 0, 0, b"e1", orjson.dumps(PAYMENT), headers)
    event = EventReader(pipeline).read(raw, NOW)
    assert not isinstance(event, Failure)
    assert event.origin == POSITION


def test_a_record_without_the_header_is_read_as_before() -> None:
    pipeline = pipeline_of(source(fields=PAYMENTS))
    value = orjson.dumps({"id": "e1", "at": NOW, "amount": 1.0, "country": None})
    for headers in ([], [("trace", b"1")]):
        event = EventReader(pipeline).read(Record("p.raw", 0, 0, 0, b"e1", value, headers), NOW)
        assert not isinstance(event, Failure)
        assert event.origin is None


def test_a_label_is_read_through_its_source() -> None:
    fields: dict[str, FieldOrigin] = {
        "id": "payment",
        "known_at": Epoch("at", "ms"),
        "country": "land",
    }
    verdicts = Source(topic="shop.verdicts", start="earliest", fields=fields)
    small = small_pipeline()
    label = type(small.label)(
        schema=small.label.schema, field="fraud", time="known_at",
        horizon=timedelta(days=1), sources=(verdicts,),
    )  # fmt: skip
    pipeline = complete(small_pipeline(label=label, key="country"), with_model=False)
    value = {"payment": "e1", "at": NOW, "fraud": True, "land": "NL"}
    record = foreign(value, topic="shop.verdicts")
    found = SourceIntake(pipeline, verdicts, label=True).read(record)
    assert isinstance(found, Forwarded)
    assert (found.key, found.time) == (b"NL", NOW)
    sent_label = Record("p.labels", 0, 0, 0, found.key, orjson.dumps(value), found.headers)
    assert LabelReader(pipeline).read(sent_label, NOW) == ("e1", True, NOW, "shop.verdicts")
    found = SourceIntake(pipeline, verdicts, label=True).read(foreign({**value, "land": None}))
    assert found == Failure("missing-field", "field country is empty (source shop.verdicts)")
