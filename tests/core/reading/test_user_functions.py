"""Cleaning steps and the feature function: results, imputed fields, and failures."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.cleaning import Between, Clip, Impute, Normalise, NullIf, Rejected, Rename
from stream_app.core.reading.user_functions import CleanedRecord, clean, extract_features
from stream_app.pipeline import CleaningStep
from stream_app.records import Failure, Features, Fields


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        (Impute("f", 1.0), None, 1.0),
        (Impute("f", 1.0), 0.0, 0.0),
        (Clip("f", 0, 10), 11, 10),
        (Clip("f", 0, 10), -1, 0),
        (Clip("f", 0, 10), 10, 10),
        (Clip("f", 0, 10), None, None),
        (Between("f", 0, 10), 11, None),
        (Between("f", 0, 10, value=5), -1, 5),
        (Between("f", 0, 10), 0, 0),
        (Between("f", 0, 10, otherwise="reject"), None, None),
        (Normalise("f"), " ua ", "UA"),
        (Normalise("f", "lower"), "UA", "ua"),
        (Normalise("f", "keep"), " Ua", "Ua"),
        (Normalise("f"), None, None),
        (NullIf("f", ("", "NA")), "NA", None),
        (NullIf("f", ("", "NA")), "N", "N"),
        (NullIf("f", (-1,)), [1], [1]),
    ],
)
def test_a_step_replaces_the_value_of_its_field(
    step: CleaningStep, before: Any, after: Any
) -> None:
    cleaned = clean({"f": before}, (step,))
    assert isinstance(cleaned, CleanedRecord)
    assert cleaned.fields == {"f": after}


def test_a_renamed_field_keeps_its_old_name() -> None:
    assert clean({"old": 1}, (Rename("old", "new"),)) == CleanedRecord({"old": 1, "new": 1})


def test_a_step_gets_the_result_of_the_previous_steps() -> None:
    steps = (NullIf("f", (-1.0,)), Impute("f", 7.0), lambda fields: {"g": fields["f"] * 2})
    assert clean({"f": -1.0}, steps) == CleanedRecord({"f": 7.0, "g": 14.0}, ("f",))


def test_imputed_fields_are_listed_once_and_other_changes_are_not() -> None:
    steps = (
        Between("f", 0, 1),
        Impute("f", 0.5),
        Impute("g", 0.5),
        Impute("h", 0.5),
        Normalise("t"),
    )
    cleaned = clean({"f": 9, "g": None, "h": 1, "t": "a"}, steps)
    assert cleaned == CleanedRecord({"f": 0.5, "g": 0.5, "h": 1, "t": "A"}, ("f", "g"))


def test_a_user_defined_step_can_declare_that_it_imputes() -> None:
    def half(fields: Fields) -> Fields:
        return {"f": 0.5} if fields["f"] is None else {}

    half.imputes = True  # type: ignore[attr-defined]  # a function declares it by an attribute
    assert clean({"f": None}, (half,)) == CleanedRecord({"f": 0.5}, ("f",))
    assert clean({"f": 1.0}, (half,)) == CleanedRecord({"f": 1.0})


def test_cleaning_does_not_modify_the_input_record() -> None:
    fields: Fields = {"f": None}
    clean(fields, (Impute("f", 1),))
    assert fields == {"f": None}


def test_a_rejected_record_fails_with_the_reason() -> None:
    assert clean({"f": 11}, (Between("f", 0, 10, otherwise="reject"),)) == Failure(
        "rejected", "f is not between 0 and 10"
    )


def test_steps_after_a_rejection_are_not_called() -> None:
    calls: list[Fields] = []

    def reject(fields: Fields) -> Fields:
        raise Rejected("test flight")

    def remember(fields: Fields) -> Fields:
        calls.append(fields)
        return {}

    assert clean({}, (reject, remember)) == Failure("rejected", "test flight")
    assert not calls


def test_the_failure_of_a_step_contains_the_exception_type_but_no_values() -> None:
    def parse(fields: Fields) -> Fields:
        return {"f": float(fields["f"])}

    failure = clean({"f": "Ada"}, (parse,))
    assert isinstance(failure, Failure)
    assert failure.code == "cleaning-failed"
    assert failure.message.startswith("ValueError in ")
    assert failure.message.endswith("parse")
    assert "Ada" not in failure.message
    assert isinstance(failure.exception, ValueError)


def test_the_failure_of_a_bundled_step_contains_its_parameters() -> None:
    failure = clean({}, (Impute("f", 1),))
    assert isinstance(failure, Failure)
    assert failure.message == "KeyError in Impute(field='f', value=1)"


@pytest.mark.parametrize("result", [None, 5, [1]])
def test_a_step_that_does_not_return_a_mapping_fails(result: Any) -> None:
    failure = clean({}, (lambda fields: result,))
    assert isinstance(failure, Failure)
    assert failure.code == "cleaning-failed"
    assert failure.message.startswith("TypeError in ")


class Half(float):
    """Subclass of float, like NumPy's scalars."""


def test_numbers_booleans_and_strings_are_valid_features() -> None:
    features: Features = {"a": 1.5, "b": -(2**63), "c": True, "d": "é", "e": ""}
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
