"""Features: which results of the feature function are taken, and what is said of the others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading.feature_extraction import extract
from stream_app.records import Failure, Features, Fields


class Half(float):
    """A subclass of float, as NumPy's are."""


def test_numbers_booleans_and_strings_are_features() -> None:
    features: Features = {"a": 1.5, "b": -(2**63), "c": True, "d": "é", "e": ""}
    assert extract(lambda fields: features, {}) == features


def test_the_function_gets_the_record() -> None:
    assert extract(lambda fields: {"double": fields["x"] * 2}, {"x": 2}) == {"double": 4}


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
        ({"a": "x\udfff"}, "feature a is str with a lone surrogate"),
    ],
)
def test_anything_else_is_invalid_and_says_why(returned: Any, message: str) -> None:
    assert extract(lambda fields: returned, {}) == Failure("feature-invalid", message)


def test_a_function_that_raises_is_a_failure_without_values() -> None:
    def broken(fields: Fields) -> Features:
        return {"a": float(fields["name"])}

    failure = extract(broken, {"name": "Ada"})
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
def test_whatever_is_returned_there_are_features_or_a_failure(returned: Any) -> None:
    result = extract(lambda fields: returned, {})
    if isinstance(result, Failure):
        assert result.code == "feature-invalid"
    else:
        assert result is returned
        assert {type(value) for value in result.values()} <= {float, int, bool, str}
