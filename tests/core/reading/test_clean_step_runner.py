"""Cleaning: the order of steps, what counts as imputed, verdicts and accidents."""

from typing import Any

import pytest

from stream_app.cleaning import Between, Clip, Impute, Normalise, NullIf, Rejected, Rename
from stream_app.core.reading.clean_step_runner import Cleaned, clean
from stream_app.pipeline import CleaningStep
from stream_app.records import Failure, Fields


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
def test_a_step_mends_its_field(step: CleaningStep, before: Any, after: Any) -> None:
    cleaned = clean({"f": before}, (step,))
    assert isinstance(cleaned, Cleaned)
    assert cleaned.fields == {"f": after}


def test_a_renamed_field_has_both_names() -> None:
    assert clean({"old": 1}, (Rename("old", "new"),)) == Cleaned({"old": 1, "new": 1})


def test_steps_see_what_the_steps_before_them_left() -> None:
    steps = (NullIf("f", (-1.0,)), Impute("f", 7.0), lambda fields: {"g": fields["f"] * 2})
    assert clean({"f": -1.0}, steps) == Cleaned({"f": 7.0, "g": 14.0}, ("f",))


def test_only_steps_that_invent_values_name_their_fields_and_each_once() -> None:
    steps = (
        Between("f", 0, 1),
        Impute("f", 0.5),
        Impute("g", 0.5),
        Impute("h", 0.5),
        Normalise("t"),
    )
    cleaned = clean({"f": 9, "g": None, "h": 1, "t": "a"}, steps)
    assert cleaned == Cleaned({"f": 0.5, "g": 0.5, "h": 1, "t": "A"}, ("f", "g"))


def test_a_step_of_the_users_own_may_impute() -> None:
    def half(fields: Fields) -> Fields:
        return {"f": 0.5} if fields["f"] is None else {}

    half.imputes = True  # type: ignore[attr-defined]  # how a function says that it invents values
    assert clean({"f": None}, (half,)) == Cleaned({"f": 0.5}, ("f",))
    assert clean({"f": 1.0}, (half,)) == Cleaned({"f": 1.0})


def test_the_record_that_was_sent_stays_as_it_is() -> None:
    fields: Fields = {"f": None}
    clean(fields, (Impute("f", 1),))
    assert fields == {"f": None}


def test_a_rejection_carries_its_reason() -> None:
    assert clean({"f": 11}, (Between("f", 0, 10, otherwise="reject"),)) == Failure(
        "rejected", "f is not between 0 and 10"
    )


def test_no_step_runs_after_a_rejection() -> None:
    calls: list[Fields] = []

    def reject(fields: Fields) -> Fields:
        raise Rejected("test flight")

    def remember(fields: Fields) -> Fields:
        calls.append(fields)
        return {}

    assert clean({}, (reject, remember)) == Failure("rejected", "test flight")
    assert not calls


def test_a_step_that_raises_is_named_with_the_exceptions_type_alone() -> None:
    def parse(fields: Fields) -> Fields:
        return {"f": float(fields["f"])}

    failure = clean({"f": "Ada"}, (parse,))
    assert isinstance(failure, Failure)
    assert failure.code == "cleaning-failed"
    assert failure.message.startswith("ValueError in ")
    assert failure.message.endswith("parse")
    assert "Ada" not in failure.message
    assert isinstance(failure.exception, ValueError)


def test_a_declared_step_that_raises_is_named_with_its_parameters() -> None:
    failure = clean({}, (Impute("f", 1),))
    assert isinstance(failure, Failure)
    assert failure.message == "KeyError in Impute(field='f', value=1)"


@pytest.mark.parametrize("result", [None, 5, [1]])
def test_a_step_that_returns_no_mapping_failed(result: Any) -> None:
    failure = clean({}, (lambda fields: result,))
    assert isinstance(failure, Failure)
    assert failure.code == "cleaning-failed"
    assert failure.message.startswith("TypeError in ")
