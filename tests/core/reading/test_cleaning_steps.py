"""Cleaning: results, imputed fields and failures; generated functions give the same ones."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_app.cleaning import Between, Clip, Impute, Normalise, NullIf, Rejected, Rename
from stream_app.core.reading.cleaning_steps import CleanedRecord, clean, compile_cleaning
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


NAMES = ("a", "b", "c", "it's {new}\n")


def double(fields: Fields) -> Fields:
    """Impute a field, or reject or fail, depending on another one."""
    if fields.get("b") == "reject":
        raise Rejected("because of b")
    return {"a": fields["b"] * 2} if fields["a"] is None else {}


double.imputes = True  # type: ignore[attr-defined]  # declares that the step imputes


def change_in_place(fields: Fields) -> Fields:
    fields["new"] = 1
    return {}


class Once(Impute):
    """Subclass of a step, whose call does something else."""

    def __call__(self, fields: Fields) -> Fields:
        return {"once": 1}


names = st.sampled_from(NAMES)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-3, 3)
    | st.sampled_from(["", " x ", "NA", "reject", "ß", [1], [], {"a": None}])
)
numbers = st.sampled_from([-1, 0, 0.5, 2])
steps = st.one_of(
    st.builds(Impute, names, VALUES),
    st.builds(Clip, names, numbers, numbers),
    st.builds(Between, names, numbers, numbers, st.sampled_from(["impute", "reject"]), numbers),
    st.builds(Normalise, names, st.sampled_from(["upper", "lower", "keep"])),
    st.builds(Rename, names, names),
    st.builds(NullIf, names, st.tuples(VALUES, VALUES)),
    st.sampled_from([double, change_in_place, lambda fields: None, Once("a", 1)]),
)


def result(cleaned: CleanedRecord | Failure) -> str:
    """Return the record with its order, or the failure with the exception."""
    return repr(cleaned)


@settings(max_examples=300)
@given(st.lists(steps, max_size=8), st.dictionaries(names, VALUES))
@example([Rename("a", "b"), Impute("b", 1), Between("c", 0, 1, otherwise="reject")], {"a": None})
@example([Normalise("a"), double, Clip("b", 0, 1)], {"a": None, "b": 2})
def test_every_record_is_cleaned_as_step_by_step(
    declared: Sequence[CleaningStep], fields: Fields
) -> None:
    expected = result(clean(fields, declared))
    assert result(compile_cleaning(declared)(dict(fields))) == expected


def test_40000_records_are_cleaned_as_step_by_step() -> None:
    declared: tuple[CleaningStep, ...] = (
        Rename("c", "copy"),
        Normalise("copy", "lower"),
        NullIf("a", (-1, "NA")),
        Between("a", 0, 10, value=3),
        Impute("a", 5.0),
        Clip("b", -1, 1),
        Between("b", -1, 0.9, otherwise="reject"),
    )
    cleaning = compile_cleaning(declared)
    odd = [None, -1, 0, 0.95, -5, 11, "NA", " Text ", True]
    outcomes = set()
    for number in range(40_000):
        fields = {
            name: odd[number // len(odd) ** place % len(odd)]
            for place, name in enumerate("abc")
            if number % 11 != place
        }
        expected = clean(fields, declared)
        assert result(cleaning(dict(fields))) == result(expected)
        outcomes.add(expected.code if isinstance(expected, Failure) else expected.imputed)
    assert {"rejected", "cleaning-failed", (), ("a", "b")} <= outcomes


def test_a_step_of_a_user_is_called_once_also_if_it_fails() -> None:
    calls: list[Any] = []

    def fail(fields: Fields) -> Fields:
        calls.append(dict(fields))
        raise ValueError

    cleaned = compile_cleaning([Impute("a", 1), fail, Impute("b", 2)])({"a": None, "b": None})
    assert isinstance(cleaned, Failure)
    assert calls == [{"a": 1, "b": None}]


def test_a_failed_step_is_named_with_its_exception() -> None:
    cleaned = compile_cleaning([Impute("b", 1), Clip("a", 0, 1)])({"a": "Ada", "b": None})
    assert isinstance(cleaned, Failure)
    assert cleaned.message == "TypeError in Clip(field='a', low=0, high=1)"
    assert isinstance(cleaned.exception, TypeError)


@pytest.mark.parametrize("steps", [[Impute("a", 1)], [Impute("a", 1), change_in_place]])
def test_an_imputed_value_is_the_declared_object(steps: list[CleaningStep]) -> None:
    value = [1]
    declared: list[CleaningStep] = [Impute("b", value), *steps]
    cleaned = compile_cleaning(declared)({"a": None, "b": None})
    assert isinstance(cleaned, CleanedRecord)
    assert cleaned.fields["b"] is value
    assert cleaned.imputed == ("b", "a")
