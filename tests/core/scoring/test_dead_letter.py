"""Failure fingerprints: equal for the same cause, different for different causes."""

from string import ascii_letters
from types import TracebackType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.cleaning import Clip
from stream_app.core.reading.cleaning_steps import clean
from stream_app.core.reading.record_reader import extract_features
from stream_app.core.scoring.dead_letter import fingerprint, normalized, raised_in
from stream_app.error_codes import ERROR_CODES
from stream_app.records import Failure

VALUES = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.uuids().map(str),
    st.integers(2**32, 2**128).map(hex),
    st.binary(min_size=16, max_size=32).map(lambda content: content.hex() + "0a"),
    st.text(max_size=40).map(repr),
    st.text(max_size=40).map(lambda text: repr(text.encode())),
    st.text(ascii_letters, min_size=1, max_size=40).map(lambda name: f"{name}@example.org"),
    st.text(ascii_letters + "0123456789-_", min_size=40, max_size=60),
)
TEMPLATES = st.sampled_from(
    [
        "order {} of {} is too large",
        "{}: no such customer, {}",
        "at position [{}] came {}",
        "took {} ms ({} left)",
    ]
)


@given(TEMPLATES, VALUES, VALUES)
def test_messages_that_differ_in_values_are_equal(template: str, one: str, other: str) -> None:
    assert normalized(template.format(one, other)) == normalized(template.format(7, 7))


@given(st.lists(VALUES, min_size=1, max_size=10))
def test_lists_of_different_lengths_are_equal(values: list[str]) -> None:
    assert normalized(f"none of [{', '.join(values)}] is known") == "none of [#] is known"


@given(st.sampled_from(sorted(ERROR_CODES)), st.sampled_from(sorted(ERROR_CODES)))
def test_different_codes_are_different_causes(one: str, other: str) -> None:
    assert (fingerprint(Failure(one, "m")) == fingerprint(Failure(other, "m"))) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("field amount is not a double but str", "field country is not a double but str"),
        ("field amount is not a double but str", "field amount is not a double but bool"),
        ("ValueError in the feature function", "KeyError in the feature function"),
        ("the customers' orders aren't ready", "the customers' orders don't exist"),
        ("customer_lifetime_value is null", "customer_acquisition_cost is null"),
    ],
)
def test_messages_that_differ_in_words_are_different(one: str, other: str) -> None:
    assert normalized(one) != normalized(other)


@given(st.text(), st.integers(0, 5000))
def test_any_message_has_a_fingerprint(text: str, times: int) -> None:
    fingerprint(Failure("rejected", text + "'\"`" * times))


def features(fields: dict[str, Any]) -> dict[str, Any]:
    return {"a": parse(fields["a"])}


def parse(text: str) -> int:
    return int(text)


def other_features(fields: dict[str, Any]) -> dict[str, Any]:
    return {"b": int(fields["a"])}


def failed(function: Any, value: Any) -> Failure:
    found = extract_features(function, {"a": value})
    assert isinstance(found, Failure)
    return found


def test_failures_of_one_cause_have_one_fingerprint() -> None:
    assert fingerprint(failed(features, "x")) == fingerprint(failed(features, "y" * 1000))


def test_failures_in_different_functions_have_different_fingerprints() -> None:
    assert fingerprint(failed(features, "x")) != fingerprint(failed(other_features, "x"))


def test_the_place_of_an_error_in_a_library_is_the_users_function() -> None:
    import statistics

    def spread(fields: dict[str, Any]) -> dict[str, Any]:
        return {"a": statistics.stdev(fields["a"])}

    place = raised_in(traceback_of(failed(spread, [])))
    assert place.startswith("test_dead_letter.py:test_the_place_of_an_error")
    assert place.endswith("<locals>.spread")


def test_without_user_code_the_place_is_the_innermost_frame() -> None:
    found = clean({"a": "text"}, [Clip("a", 0.0, 1.0)])
    assert isinstance(found, Failure)
    assert raised_in(traceback_of(found)) == "cleaning.py:Clip.__call__"
    assert raised_in(None) == ""


def test_an_edit_elsewhere_in_the_file_keeps_the_fingerprint() -> None:
    source = "def features(fields):\n    return {'a': int(fields['a'])}\n"
    found = []
    for text in (source, "\n\n# a remark\n" + source):
        names: dict[str, Any] = {}
        exec(compile(text, "/home/ann/payments.py", "exec"), names)
        found.append(failed(names["features"], "x"))
    assert raised_in(traceback_of(found[0])) == "payments.py:features"
    assert fingerprint(found[0]) == fingerprint(found[1])


def traceback_of(failure: Failure) -> TracebackType | None:
    assert failure.exception is not None
    return failure.exception.__traceback__


def test_ids_are_removed_from_a_message() -> None:
    message = (
        f"customer {UUID(int=7**40)} "
        "(ann@example.org, 'Ann', 0x7f3a, key AKIAIOSFODNN7EXAMPLE12) unknown"
    )
    assert normalized(message) == "customer # (#, key #) unknown"
