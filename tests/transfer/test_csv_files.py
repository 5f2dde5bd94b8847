"""A bad record of a CSV file costs its own line and no other."""

from io import BytesIO

import orjson
import pytest

from stream_app.transfer.csv_files import csv_rows
from stream_app.transfer.json_lines import BadLine, InputLines, Row
from tests.small_pipeline import EVENT_SCHEMA

HEADER = "id,at,amount,country"


def rows(*records: str) -> list[Row | BadLine]:
    content = "\n".join((HEADER, *records, "")).encode()
    return list(csv_rows(InputLines("events.csv", BytesIO(content), None), EVENT_SCHEMA, "id"))


def record(number: int, country: str = "NL") -> str:
    return f"e{number},1760000000000,{number},{country}"


@pytest.mark.parametrize("closing", ["", "NL", 'N"L', 'NL"', '"NL"', '"N'])
@pytest.mark.parametrize("at", [6, 7, 50, 150, 1999])
def test_a_stray_quote_costs_its_own_line(closing: str, at: int) -> None:
    countries = {5: '"NL', at: closing}
    found = rows(*(record(number, countries.get(number, "NL")) for number in range(1, 2001)))
    bad = {row.number for row in found if isinstance(row, BadLine)}
    assert {6} <= bad <= {6, at + 1}
    assert len(found) == 2000
    good = {row.key.decode() for row in found if isinstance(row, Row)}
    assert {f"e{number}" for number in range(1, 2001)} - {"e5", f"e{at}"} <= good
    assert next(row for row in found if row.number == 6) in (
        BadLine(6, "not CSV: a quote is not closed"),
        BadLine(6, "not CSV: ',' expected after '\"'"),
    )


def test_a_stray_quote_in_the_last_line_costs_that_line() -> None:
    found = rows(record(1), record(2, '"NL'))
    assert found[1] == BadLine(3, "not CSV: unexpected end of data")
    assert isinstance(found[0], Row)


def test_a_large_cell_with_line_breaks_is_read() -> None:
    text = "a line, with commas,\nand a break\n" * 6000
    (row, after) = rows(record(1, f'"{text}"'), record(2))
    assert isinstance(row, Row)
    assert orjson.loads(row.value)["country"] == text
    assert isinstance(after, Row)
    assert after.number == 12_003


def test_a_cell_of_200_kb_is_read() -> None:
    (row,) = rows(record(1, '"' + "x" * 200_000 + '"'))
    assert isinstance(row, Row)
    assert len(row.value) > 200_000


def test_a_record_larger_than_any_of_kafka_costs_its_own_line() -> None:
    line = "no record\n"
    found = rows(record(1, '"NL'), line * ((1 << 23) // len(line)), record(2))
    assert found[0] == BadLine(2, "not CSV: a quote is not closed, or the record is too large")
    assert isinstance(found[-1], Row)
