"""Reading events and labels: results, failure codes, and the order of the stages."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_app.cleaning import Between, Impute, Normalise, Rejected
from stream_app.core.reading.record_reader import (
    Event,
    EventReader,
    LabelEvent,
    LabelReader,
    extract_features,
)
from stream_app.error_codes import ERROR_CODES
from stream_app.errors import PipelineError
from stream_app.pipeline import Label, Pipeline
from stream_app.records import Failure, Features, Fields, Record
from tests.core.reading.test_decoding import JSON
from tests.small_pipeline import labelled, small_pipeline

NOW = 1_700_000_000_000
DAY = 24 * 60 * 60 * 1000
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


def schema(**fields: Any) -> dict[str, Any]:
    """Return a record schema with the given fields and types."""
    return {
        "type": "record",
        "name": "R",
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }


FLIGHT = schema(id=["null", "string"], at=MILLIS, carrier="string", wind=["null", "double"])
LATE = schema(id="string", late="boolean", known_at=MILLIS)


def reject_test_flights(fields: Fields) -> Fields:
    if fields["carrier"] == "TEST":
        raise Rejected("a test flight")
    return {}


def pipeline(**changes: Any) -> Pipeline:
    """Return a pipeline of flights, with changes to its declaration."""
    declared: dict[str, Any] = {
        "name": "flights",
        "schema": FLIGHT,
        "event_id": "id",
        "event_time": "at",
        "clean": (
            Normalise("carrier"),
            reject_test_flights,
            Between("wind", 0, 150),
            Impute("wind", 10.0),
        ),
        "features": lambda fields: {"carrier": fields["carrier"], "wind": fields["wind"]},
        "model": object,
        "label": Label(schema=LATE, field="late", time="known_at", horizon=timedelta(hours=48)),
    }
    return Pipeline(**{**declared, **changes})


def record(fields: Any, key: bytes | None = b"f1") -> Record:
    """Return a Kafka record with a value."""
    return Record(
        "flights.raw", 0, 7, NOW, key, fields if isinstance(fields, bytes) else orjson.dumps(fields)
    )


SENT = {"id": "f1", "at": "2013-01-01T05:15:00-05:00", "carrier": " ua", "wind": 12, "pilot": "Ada"}
CODE_OF = [
    (b"", "empty-value"),
    (b"{", "invalid-json"),
    (b"[]", "not-an-object"),
    (b'{"id": "f1", "wind": NaN}', "not-finite"),
    ({}, "missing-field"),
    ({**SENT, "carrier": 5}, "wrong-type"),
    ({**SENT, "at": "2013-01-01T05:15:00"}, "event-time-invalid"),
    ({**SENT, "at": None}, "event-time-invalid"),
    ({**SENT, "id": None}, "missing-field"),
    ({**SENT, "id": ""}, "missing-field"),
    ({**SENT, "id": "f2"}, "key-mismatch"),
    ({**SENT, "carrier": "test"}, "rejected"),
    ({**SENT, "at": NOW + DAY + 1}, "event-in-future"),
]


def test_a_raw_record_is_read_as_an_event() -> None:
    assert EventReader(pipeline()).read(record(SENT), NOW) == Event(
        event_id="f1",
        event_time=1357035300000,
        fields={"id": "f1", "at": 1357035300000, "carrier": "UA", "wind": 12.0},
        features={"carrier": "UA", "wind": 12.0},
        imputed=(),
    )


@given(st.permutations(list({"id": "f1", "at": NOW, "carrier": "UA", "wind": 12.0}.items())))
def test_the_order_of_the_sent_fields_does_not_change_the_event(sent: list[Any]) -> None:
    reader = EventReader(pipeline(features=lambda fields: {**fields, "wind": 12.0}))
    events = [reader.read(record(fields), NOW) for fields in (dict(sent), {**dict(sent), "x": 1})]
    assert repr(events[0]) == repr(events[1])
    assert isinstance(events[0], Event)
    assert list(events[0].features) == ["id", "at", "carrier", "wind"]


def test_an_event_lists_its_imputed_fields() -> None:
    event = EventReader(pipeline()).read(record({**SENT, "wind": 1048}), NOW)
    assert isinstance(event, Event)
    assert event.features["wind"] == 10.0
    assert event.imputed == ("wind",)


@pytest.mark.parametrize(("sent", "code"), CODE_OF)
def test_each_defect_of_a_record_has_a_specific_code(sent: Any, code: str) -> None:
    failure = EventReader(pipeline()).read(record(sent), NOW)
    assert isinstance(failure, Failure)
    assert failure.code == code


def test_an_event_up_to_a_day_ahead_is_accepted() -> None:
    event = EventReader(pipeline()).read(record({**SENT, "at": NOW + DAY}), NOW)
    assert isinstance(event, Event)
    assert event.event_time == NOW + DAY


def test_a_record_without_key_fails() -> None:
    assert EventReader(pipeline()).read(record(SENT, key=None), NOW) == Failure(
        "missing-key", "the record has no key"
    )


def test_the_first_defect_determines_the_code() -> None:
    failure = EventReader(pipeline()).read(
        record({**SENT, "id": "f2", "carrier": "test", "at": NOW + 9 * DAY}), NOW
    )
    assert isinstance(failure, Failure)
    assert failure.code == "key-mismatch"


def test_id_and_key_are_taken_before_cleaning() -> None:
    reader = EventReader(
        pipeline(clean=(Normalise("id"),), features=lambda fields: {"id": fields["id"]})
    )
    event = reader.read(record(SENT), NOW)
    assert isinstance(event, Event)
    assert event.event_id == "f1"
    assert event.features == {"id": "F1"}


def test_the_key_can_be_a_numeric_field_other_than_the_id() -> None:
    declared = pipeline(
        schema=schema(id="long", at=MILLIS, user="int"),
        key="user",
        clean=(),
        features=lambda fields: {"x": 1},
    )
    reader = EventReader(declared)
    event = reader.read(record({"id": 10, "at": 0, "user": 42}, key=b"42"), NOW)
    assert isinstance(event, Event)
    assert event.event_id == "10"
    mismatch = reader.read(record({"id": 10, "at": 0, "user": 42}, key=b"10"), NOW)
    assert isinstance(mismatch, Failure)
    assert mismatch.code == "key-mismatch"


def test_a_null_key_field_counts_as_missing() -> None:
    declared = pipeline(
        schema=schema(id="string", at=MILLIS, user=["null", "string"]), key="user", clean=()
    )
    failure = EventReader(declared).read(
        record({"id": "f1", "at": 0, "user": None}, key=b"None"), NOW
    )
    assert failure == Failure("missing-field", "field user is empty")


@pytest.mark.parametrize(
    ("kind", "sent", "time"),
    [
        ("long", 1357035300000, 1357035300000),
        ("string", "2013-01-01T05:15-05:00", 1357035300000),
        ({"type": "long", "logicalType": "timestamp-micros"}, 1357035300000000, 1357035300000),
    ],
)
def test_an_event_time_can_be_a_long_a_text_or_a_timestamp(kind: Any, sent: Any, time: int) -> None:
    declared = pipeline(
        schema=schema(id="string", at=kind), clean=(), features=lambda fields: {"x": 1}
    )
    event = EventReader(declared).read(record({"id": "f1", "at": sent}), NOW)
    assert isinstance(event, Event)
    assert event.event_time == time


@pytest.mark.parametrize("made", ["soon", None, 1.5, 2**62, True])
def test_an_event_time_invalidated_by_cleaning_fails(made: Any) -> None:
    failure = EventReader(pipeline(clean=(lambda fields: {"at": made},))).read(record(SENT), NOW)
    assert isinstance(failure, Failure)
    assert failure.code == "event-time-invalid"


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ("0001-01-01T00:00:00+01:00", "is before the year 1 in UTC"),
        ("9999-12-31T23:59:59-00:01", "is after the year 9999 in UTC"),
        ("2013-01-01T05:15:00", "has no offset from UTC"),
        ("0000-01-01T00:00:00Z", "is not ISO 8601"),
    ],
)
def test_the_message_says_why_a_text_is_not_an_event_time(sent: str, problem: str) -> None:
    expected = "field at: expected timestamp (ISO 8601 with offset, or integer), got string that"
    failure = EventReader(pipeline()).read(record({**SENT, "at": sent}), NOW)
    assert failure == Failure("event-time-invalid", f"{expected} {problem}")
    cleaned = pipeline(clean=(lambda fields: {"at": sent},))
    failure = EventReader(cleaned).read(record(SENT), NOW)
    assert failure == Failure("event-time-invalid", f"field at {problem}")


def test_features_are_extracted_last() -> None:
    failure = EventReader(pipeline(features=lambda fields: {"x": None})).read(record(SENT), NOW)
    assert failure == Failure("feature-invalid", "feature x is NoneType")


def test_a_pipeline_with_an_unread_schema_is_rejected() -> None:
    with pytest.raises(PipelineError, match=r"flight\.avsc was not read"):
        EventReader(pipeline(schema="flight.avsc"))


def test_a_label_record_is_read_as_a_label() -> None:
    label = LabelReader(pipeline()).read(
        record({"id": "f1", "late": True, "known_at": 1357035300000}), NOW
    )
    assert label == LabelEvent("f1", True, 1357035300000)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "empty-value"),
        (b"{", "invalid-json"),
        ({"id": "f1", "late": None, "known_at": 0}, "wrong-type"),
        ({"id": "f1", "late": 1, "known_at": 0}, "wrong-type"),
        ({"id": "f1", "known_at": 0}, "missing-field"),
        ({"id": "", "late": True, "known_at": 0}, "missing-field"),
        ({"id": "f2", "late": True, "known_at": 0}, "key-mismatch"),
        ({"id": "f1", "late": True, "known_at": "soon"}, "event-time-invalid"),
        ({"id": "f1", "late": True, "known_at": NOW + DAY + 1}, "event-in-future"),
    ],
)
def test_each_defect_of_a_label_has_a_specific_code(sent: Any, code: str) -> None:
    failure = LabelReader(pipeline()).read(record(sent), NOW)
    assert isinstance(failure, Failure)
    assert failure.code == code


def test_a_class_may_have_two_hundred_characters() -> None:
    reader = LabelReader(small_pipeline(label=labelled("string")))
    sent = {"id": "f1", "known_at": NOW}
    label = reader.read(record({**sent, "fraud": "ü" * 200}), NOW)
    assert label == LabelEvent("f1", "ü" * 200, NOW)
    failure = reader.read(record({**sent, "fraud": "u" * 201}), NOW)
    assert failure == Failure("class-too-long", "field fraud has more than 200 characters")


def test_a_label_without_key_fails_even_if_its_schema_lacks_the_key_field() -> None:
    reader = LabelReader(pipeline(schema=schema(id="string", at=MILLIS, user="string"), key="user"))
    sent = {"id": "f1", "late": False, "known_at": 0}
    assert reader.read(record(sent, key=b"anything"), NOW) == LabelEvent("f1", False, 0)
    assert reader.read(record(sent, key=None), NOW) == Failure(
        "missing-key", "the record has no key"
    )


VALUES = JSON | st.just("f1") | st.integers(0, 2 * NOW)
FIELDS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("id", "at", "carrier", "wind", "late", "known_at"), VALUES)
)


@given(
    st.binary() | FIELDS.map(orjson.dumps) | JSON.map(orjson.dumps),
    st.none() | st.just(b"f1") | st.binary(),
)
@example(orjson.dumps(SENT), b"f1")
@example(b'{"id": "f1", "at": ' + b"9" * 5000 + b"}", b"f1")
def test_any_record_is_read_or_fails_with_a_documented_code(
    value: bytes, key: bytes | None
) -> None:
    event, label = (
        EventReader(pipeline()).read(record(value, key), NOW),
        LabelReader(pipeline()).read(record(value, key), NOW),
    )
    assert isinstance(event, Event) or event.code in ERROR_CODES
    assert isinstance(label, LabelEvent) or label.code in ERROR_CODES


class Half(float):
    """Subclass of float, like NumPy's scalars."""


def test_numbers_booleans_and_strings_are_valid_features() -> None:
    features: Features = {"a": 1.5, "b": -(2**63), "c": True, "d": "é", "e": "", "é": 2**63 - 1}
    assert extract_features(lambda fields: features, {}) == features


def test_the_feature_function_gets_the_cleaned_record() -> None:
    assert extract_features(lambda fields: {"double": fields["x"] * 2}, {"x": 2}) == {"double": 4}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({}, "the feature function returned no features"),
        (None, "the feature function returned NoneType, not dict"),
        ([("a", 1)], "the feature function returned list, not dict"),
        ({1: 1.0}, "a feature's name is not a string"),
        ({"\ud800": 1.0}, "a feature's name is not a string"),
        ({"a": None}, "feature a is NoneType"),
        ({"a": Half(1)}, "feature a is Half"),
        ({"a": [1]}, "feature a is list"),
        ({"a": float("nan")}, "feature a is float that is not finite"),
        ({"a": 1.0, "b": float("-inf")}, "feature b is float that is not finite"),
        ({"a": 2**63}, "feature a is int of more than 64 bits"),
        ({"a": -(2**63) - 1}, "feature a is int of more than 64 bits"),
        ({"\ud800": 1}, "a feature's name is not a string"),
        ({"\ud800": "a"}, "a feature's name is not a string"),
        ({1: "a"}, "a feature's name is not a string"),
        ({"a": "x\udfff"}, "feature a is str with a lone surrogate"),
    ],
)
def test_any_other_result_is_invalid_with_a_reason(returned: Any, message: str) -> None:
    assert extract_features(lambda fields: returned, {}) == Failure("feature-invalid", message)


def test_the_failure_of_a_feature_function_contains_no_values() -> None:
    def broken(fields: Fields) -> Features:
        return {"a": float(fields["name"])}

    failure = extract_features(broken, {"name": "Ada"})
    assert isinstance(failure, Failure)
    assert failure.code == "features-failed"
    assert failure.message == "ValueError in the feature function"
    assert isinstance(failure.exception, ValueError)


ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.integers())
)


@given(ANYTHING | st.dictionaries(st.text() | st.integers(), ANYTHING))
def test_any_result_gives_valid_features_or_a_failure(returned: Any) -> None:
    result = extract_features(lambda fields: returned, {})
    if isinstance(result, Failure):
        assert result.code == "feature-invalid"
    else:
        assert result is returned
        assert {type(value) for value in result.values()} <= {float, int, bool, str}
