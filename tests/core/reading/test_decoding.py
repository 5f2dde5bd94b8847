"""Decoding of values: fields or a failure code, and never an exception."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading.decoding import decode
from stream_app.records import Failure

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (b"{}", {}),
        (b'{"a": 1, "b": [true, null, "\xc3\xa9"]}', {"a": 1, "b": [True, None, "é"]}),
        (b' {"a": 1.5} \n', {"a": 1.5}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_a_json_object_is_decoded(value: bytes, fields: dict[str, object]) -> None:
    assert decode(value) == fields


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "empty-value"),
        (b"", "empty-value"),
        (b" ", "invalid-json"),
        (b"{", "invalid-json"),
        (b"{'a': 1}", "invalid-json"),
        (b'{"a": 1} {"b": 2}', "invalid-json"),
        (b'\xef\xbb\xbf{"a": 1}', "invalid-json"),
        (b'{"a": "\xff"}', "invalid-json"),
        (b'{"a": "\xed\xa0\x80"}', "invalid-json"),
        (b'{"a": "\\ud800"}', "invalid-json"),
        ('{"a": NaN}'.encode("utf-16"), "invalid-json"),
        (b"[" * 100_000, "invalid-json"),
        (b'{"a":' * 100_000, "invalid-json"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "invalid-json"),
        (b"\x00\x00\x00\x00\x01avro", "unknown-schema"),
        (b"\x00", "invalid-avro"),
        (b"[]", "not-an-object"),
        (b"null", "not-an-object"),
        (b'"text"', "not-an-object"),
        (b"1", "not-an-object"),
        (b'{"a": NaN}', "not-finite"),
        (b'{"a": [-Infinity]}', "not-finite"),
        (b'{"a": 1e999}', "not-finite"),
        (b'{"a": -1e999}', "not-finite"),
        (b'{"a": ' + b"9" * 400 + b"}", "not-finite"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not-finite"),
        (b'{"a": NaN', "invalid-json"),
        (b'{"a": NaN, "b": "\\ud800"}', "not-finite"),
    ],
)
def test_any_other_value_fails_with_a_specific_code(value: bytes | None, code: str) -> None:
    failure = decode(value)
    assert isinstance(failure, Failure)
    assert failure.code == code


def test_a_failure_message_contains_the_position_but_no_values() -> None:
    failure = decode(b'{"name": "Ada Lovelace", }')
    assert isinstance(failure, Failure)
    assert "line 1 column" in failure.message
    assert "Ada" not in failure.message


@given(st.binary())
def test_decoding_arbitrary_bytes_never_raises(value: bytes) -> None:
    result = decode(value)
    assert isinstance(result, dict | Failure)


@given(st.dictionaries(st.text(), JSON))
def test_encoded_fields_are_decoded_unchanged(fields: dict[str, object]) -> None:
    assert decode(orjson.dumps(fields)) == fields


@given(JSON.filter(lambda value: not isinstance(value, dict)))
def test_json_other_than_an_object_fails(value: object) -> None:
    result = decode(orjson.dumps(value))
    assert isinstance(result, Failure)
    assert result.code == "not-an-object"


@given(st.dictionaries(st.text(), JSON), st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_decoding_damaged_json_never_raises(
    fields: dict[str, object], place: int, damage: bytes
) -> None:
    value = orjson.dumps(fields)
    result = decode(value[:place] + damage + value[place:])
    assert isinstance(result, dict | Failure)
