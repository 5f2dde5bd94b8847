"""A field that a declaration class does not have is named with the nearest one."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from stream_app import (
    Breaker,
    Fallback,
    Label,
    Limits,
    Pipeline,
    Retry,
    Threshold,
    Thresholds,
)
from stream_app.cleaning import Between
from stream_app.declaration.validation import explain_misnamed_field


@pytest.mark.parametrize(
    ("declare", "wrong", "right"),
    [
        (Pipeline, "event_tme", "event_time"),
        (Label, "horizn", "horizon"),
        (Threshold, "limt", "limit"),
        (Thresholds, "decison", "decision"),
        (Retry, "max_attempt", "max_attempts"),
        (Breaker, "ratios", "ratio"),
        (Fallback, "last_god", "last_good"),
        (Limits, "memory", "memory_mb"),
        (Between, "hihg", "high"),
    ],
)
def test_the_nearest_field_is_named(declare: Any, wrong: str, right: str) -> None:
    with pytest.raises(TypeError) as raised:
        declare(**{wrong: 1})
    assert explain_misnamed_field(raised.value) == (
        f"{declare.__name__}: unknown field {wrong}; the nearest is {right}",
        f"Choose from {', '.join(field.name for field in fields(declare))}",
    )


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: Label(schema={}, field="x", time="t"), "Label lacks horizon"),  # type: ignore[call-arg]
        (lambda: Label(schema={}), "Label lacks field, time, horizon"),  # type: ignore[call-arg]
        (lambda: Between("x"), "Between lacks low, high"),  # type: ignore[call-arg]
        (lambda: Retry(3), "Retry has a value without the name of its field"),  # type: ignore[call-arg]
        (lambda: Retry(xyz=3), "Retry: unknown field xyz"),  # type: ignore[call-arg]
    ],
)
def test_a_missing_or_unnamed_field_is_named(call: Callable[[], object], expected: str) -> None:
    with pytest.raises(TypeError) as raised:
        call()
    explained = explain_misnamed_field(raised.value)
    assert explained is not None
    assert explained[0] == expected


def test_other_errors_are_not_explained() -> None:
    assert explain_misnamed_field(ValueError("Label.__init__() got")) is None
    assert explain_misnamed_field(TypeError("f() got an unexpected keyword argument 'x'")) is None
