"""One table serves as events and as labels."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream_app.errors import InputError
from stream_app.loading import complete
from stream_app.pipeline import Pipeline
from stream_app.transfer.input_files import Format, is_table, read_rows
from stream_app.transfer.json_lines import BadLine, InputLines
from tests.small_pipeline import HOUR, NOW, event, label, labelled, small_pipeline

SECONDS = {"type": "long", "logicalType": "timestamp-seconds"}


def pipeline(**changes: Any) -> Pipeline:
    return complete(small_pipeline(label=replace(labelled("int"), positive=1, **changes)))


def read(
    content: bytes, declared: Pipeline, file_format: Format = "json", *, labels: bool
) -> tuple[list[Any], int]:
    lines = InputLines("table", BytesIO(content), None)
    rows = read_rows(lines, file_format, declared, labels=labels)
    found = [row if isinstance(row, BadLine) else orjson.loads(row.value) for row in rows]
    return found, lines.unlabelled


def as_lines(records: Iterable[dict[str, Any]]) -> bytes:
    return b"\n".join(map(orjson.dumps, records))


def test_a_row_is_an_event_without_its_outcome_and_a_label_without_the_event() -> None:
    table = as_lines([event(1) | label(1, fraud=1), event(2) | label(2, fraud=0)])
    assert read(table, pipeline(), labels=False) == ([event(1), event(2)], 0)
    assert read(table, pipeline(), labels=True) == ([label(1, fraud=1), label(2, fraud=0)], 0)


def test_a_row_without_a_label_has_none_yet() -> None:
    open_rows = [event(2) | {"fraud": None, "known_at": None}, event(3)]
    table = as_lines([event(1) | label(1, fraud=1), *open_rows])
    assert read(table, pipeline(), labels=True) == ([label(1, fraud=1)], 2)
    events, _ = read(table, pipeline(), labels=False)
    assert events == [event(1), event(2), event(3)]


def test_without_a_time_of_the_label_the_delay_is_added_to_that_of_the_event() -> None:
    table = as_lines([event(1) | {"fraud": 1}])
    (found,), _ = read(table, pipeline(delay=timedelta(hours=2)), labels=True)
    assert found == {"id": "e1", "fraud": 1, "known_at": "2023-11-15T00:13:20.000+00:00"}
    with pytest.raises(InputError) as raised:
        read(table, pipeline(), labels=True)
    assert str(raised.value).startswith("table has events and labels, but no column known_at")


def test_a_time_of_the_label_counts_before_the_delay() -> None:
    row = event(1) | label(1, fraud=1, known_at=NOW + HOUR)
    (found,), _ = read(as_lines([row]), pipeline(delay=timedelta(hours=2)), labels=True)
    assert found["known_at"] == NOW + HOUR


def test_cells_are_read_by_both_schemas() -> None:
    table = b"id,at,amount,country,fraud,known_at\ne1,1700000000000.0,5,,1.0,1700003600000\n"
    (as_event,), _ = read(table, pipeline(), "csv", labels=False)
    assert as_event == {"id": "e1", "at": NOW, "amount": 5.0, "country": None}
    (as_label,), _ = read(table, pipeline(), "csv", labels=True)
    assert as_label == {"id": "e1", "fraud": 1, "known_at": NOW + HOUR}


def test_other_files_are_unchanged() -> None:
    events, labels = [event(1) | {"note": "x"}], [label(1, fraud=1) | {"by": "x"}]
    assert read(as_lines(events), pipeline(), labels=False) == (events, 0)
    # A file of labels only that lacks a label is an error of its producer.
    incomplete = {"id": "e2", "known_at": NOW}
    assert read(as_lines([*labels, incomplete]), pipeline(), labels=True) == (
        [*labels, incomplete],
        0,
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", as_lines([event(1), event(2) | label(2)]), True),
        ("a.jsonl", as_lines([event(1)]), False),
        ("a.jsonl", as_lines([label(1)]), False),
        ("a.csv", b"id,at,fraud\n1,2,\n", True),
        ("a.csv", b"id,fraud\n1,1\n", False),
        ("a.jsonl", b"{\n", False),
    ],
)
def test_a_table_is_recognised(tmp_path: Path, name: str, content: bytes, expected: bool) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert is_table(str(path), None, pipeline()) is expected
    assert not is_table("-", None, pipeline())
