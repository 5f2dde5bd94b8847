"""Each part of a pipeline is guessed from the columns of a table, with its reason."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stream_app.errors import InputError
from stream_app.starter.column_profiles import SampledRecord, flatten, profile_columns
from stream_app.starter.pipeline_guess import PipelineGuess, guess_pipeline
from stream_app.starter.role_guesses import ChosenColumns
from stream_app.starter.table_sample import TableSample

START = 1_740_960_000
ROWS = 400
Row = dict[str, Any]


def table(change: Callable[[int, Row], Row] = lambda _, row: row) -> list[Row]:
    chance = random.Random(3)
    rows = []
    for number in range(ROWS):
        amount = chance.uniform(1, 100)
        row = {
            "order_id": f"o{number}",
            "paid_at": START + 600 * number,
            "amount": amount,
            "shop": chance.choice(["north", "south", "web"]),
            "fraud": int(chance.random() < amount / 200),
        }
        rows.append(change(number, row))
    return rows


def guess(rows: list[Row], *, text: bool = False, **chosen: str) -> PipelineGuess:
    if text:
        rows = [{name: _text(value) for name, value in row.items()} for row in rows]
    columns = profile_columns(map(SampledRecord, rows), text=text)
    return guess_pipeline(TableSample(columns, len(rows), len(rows)), ChosenColumns(**chosen))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def names(roles: Any) -> list[str]:
    return [role.column.name for role in roles]


@pytest.mark.parametrize("text", [False, True])
def test_the_roles_are_guessed_from_names_and_values(text: bool) -> None:
    found = guess(table(), text=text)
    assert found.event_id.column.name == "order_id"
    assert found.event_id.reason == "400 of 400 values differ"
    assert found.event_time.column.time_type == "timestamp-seconds"
    assert found.event_time.reason == "400 numbers, as Unix seconds"
    assert found.label.column.name == "fraud"
    assert (found.values.kind, found.values.positive, found.values.negative) == ("binary", 1, None)
    assert names(found.numbers) == ["amount"]
    assert names(found.words) == ["shop"]
    assert found.timing.time is None
    assert (found.timing.delay, found.timing.horizon) == (timedelta(days=1), timedelta(days=2))
    assert str(found.order) == "the events are in order of time"


@pytest.mark.parametrize(
    ("values", "kind", "positive", "negative"),
    [
        ((True, False), "binary", None, None),
        ((1.0, 0.0), "binary", 1.0, None),
        ((2, 1), "binary", 2, 1),
        ((1, -1), "binary", 1, -1),
        (("fraud", "ok"), "binary", "fraud", "ok"),
        (("good", "odd"), "binary", "good", "odd"),
        (("Yes", "No"), "binary", "Yes", "No"),
        (("red", "green", "blue"), "classes", None, None),
        ((1, 2, 3), "number", None, None),
        ((0.5, 1.5, 2.5), "number", None, None),
    ],
)
def test_the_kind_of_the_label_follows_from_its_values(
    values: tuple[Any, ...], kind: str, positive: Any, negative: Any
) -> None:
    # The first value is the rarest.
    chosen = [values[0]] + [one for one in values[1:] for _ in range(2)]
    found = guess(table(lambda n, row: row | {"fraud": chosen[n % len(chosen)]}), label="fraud")
    assert (found.values.kind, found.values.positive, found.values.negative) == (
        kind,
        positive,
        negative,
    )


@pytest.mark.parametrize(
    ("values", "logical_type"),
    [
        (lambda n: START + n, "timestamp-seconds"),
        (lambda n: START + n + 0.5, "timestamp-seconds"),
        (lambda n: (START + n) * 1000, "timestamp-millis"),
        (lambda n: (START + n) * 10**6, "timestamp-micros"),
        (lambda n: (START + n) * 10**9, "timestamp-nanos"),
        (lambda n: f"2025-03-03T09:00:{n % 60:02}+01:00", "timestamp-millis"),
        (lambda n: f"2025-03-03 09:00:{n % 60:02}", "local-timestamp-millis"),
        (lambda _: "2025-03-03", "local-timestamp-millis"),
    ],
)
def test_the_unit_of_the_time_is_guessed(values: Callable[[int], Any], logical_type: str) -> None:
    found = guess(table(lambda n, row: row | {"paid_at": values(n)}))
    assert found.event_time.column.time_type == logical_type


def test_a_later_time_is_that_of_the_label() -> None:
    found = guess(table(lambda n, row: row | {"decided_at": row["paid_at"] + 60 * n}))
    assert found.timing.time is not None
    assert found.timing.time.name == "decided_at"
    assert (found.timing.delay, found.timing.horizon) == (None, timedelta(days=1))
    assert "of 400 times are not before the event" in found.timing.reason


def test_what_tells_the_label_is_no_feature() -> None:
    def change(number: int, row: Row) -> Row:
        fraud = row["fraud"] if number % 5 else None
        return row | {
            "fraud": fraud,
            "loss": None if fraud is None else number % 7,
            "chargeback": 100.0 * (row["fraud"] == 1) + number / ROWS,
            "state": "blocked" if row["fraud"] else "paid",
        }

    found = guess(table(change), label="fraud")
    left_out = {role.column.name: role.reason for role in found.left_out}
    assert left_out.keys() == {"loss", "chargeback", "state"}
    assert left_out["loss"].startswith("it is missing where fraud is")
    assert left_out["chargeback"] == "alone it tells fraud (ROC AUC 1.000)"
    assert left_out["state"] == "alone it tells fraud (100.0% of the rows)"


def test_columns_without_use_are_left_out() -> None:
    extra = {"row": 0, "customer_id": 0, "note": "", "nothing": None, "constant": 1, "list": [1]}

    def change(number: int, row: Row) -> Row:
        changed = {"row": number, "customer_id": number % 50, "note": f"note {number}"}
        return {**extra, **changed, **row, "customer": {"country": "NL"}, "odd name": 3}

    left_out = {role.column.name: role.reason for role in guess(table(change)).left_out}
    assert left_out == {
        "row": "it numbers the rows",
        "customer_id": "an identifier by its name; 50 of 400 values differ",
        "note": "text with many values: 400 of 400 values differ",
        "nothing": "it is always empty",
        "constant": "it has one value only",
        "list": "it has lists or values of several types",
        "customer.country": "its name, or its path, is no name of a field",
        "odd name": "its name, or its path, is no name of a field",
    }


def test_a_name_that_is_code_is_no_field() -> None:
    evil = 'x"); import os; ("'
    found = guess(table(lambda n, row: row | {evil: n % 3}))
    assert evil in names(found.left_out)
    with pytest.raises(InputError):
        guess(table(lambda n, row: row | {evil: n % 3}), label=evil)


def test_the_lateness_covers_the_disorder_of_the_file() -> None:
    def swap(number: int, row: Row) -> Row:
        return row | {"paid_at": row["paid_at"] - 3 * 86_400 * (number == 300)}

    found = guess(table(swap))
    assert found.order.displaced == 1
    assert found.timing.allowed_lateness == timedelta(days=3)
    assert not found.must_be_sorted
    backwards = guess(table()[::-1] + table(lambda n, row: row | {"order_id": f"p{n}"}))
    assert backwards.order.milliseconds > 0
    rows = table(lambda n, row: row | {"paid_at": START - 86_400 * n})
    assert guess(rows).must_be_sorted


@pytest.mark.parametrize(
    ("change", "chosen", "expected"),
    [
        (lambda _, row: row | {"paid_at": "soon"}, {}, "No column is a time that is never missing"),
        (lambda _, row: row | {"order_id": "o"}, {}, "No column identifies a row; the nearest is"),
        (lambda n, row: row | {"fraud": n % 9}, {}, "No column seems to be the label"),
        (lambda _, row: row | {"fraud": 1}, {"label": "fraud"}, "it has 1 different values"),
        (lambda _, row: row, {"label": "frad"}, "--label 'frad' is not a column. Choose from"),
        (lambda _, row: row, {"event_time": "amount"}, "amount cannot be the time"),
        (lambda _, row: row, {"event_id": "amount"}, "amount cannot be the id"),
        (lambda n, row: row | {"fraud": f"t{n}"}, {"label": "fraud"}, "it has 400 different"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(
    change: Callable[[int, Row], Row], chosen: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError) as raised:
        guess(table(change), **chosen)
    assert expected in str(raised.value)
    assert "--" in str(raised.value) or "Choose" in str(raised.value)


def test_leading_zeros_are_text() -> None:
    (column,) = profile_columns(
        [SampledRecord({"zip": "00501"}), SampledRecord({"zip": "12"})], text=True
    )
    assert column.type == "text"


def test_nested_values_have_a_path() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": [2]}}) == {"a.b.c": 1, "a.d": [2]}
