"""A bad record of a CSV file costs its own line and no other."""

import time
from collections.abc import Iterator
from io import BytesIO
from itertools import chain, count, islice, repeat

import orjson
import pytest

from stream_app.transfer.csv_files import csv_rows
from stream_app.transfer.json_lines import BadLine, InputLines, Row
from tests.small_pipeline import EVENT_SCHEMA

HEADER = "id,at,amount,country"
NOT_CLOSED = "not CSV: a quoted cell is not closed before a comma or the end of a line"


def rows(*records: str) -> list[Row | BadLine]:
    content = "\n".join((HEADER, *records, "")).encode()
    return list(csv_rows(InputLines("events.csv", BytesIO(content), None), EVENT_SCHEMA, ("id",)))


def record(number: int, country: str = "NL") -> str:
    return f"e{number},1760000000000,{number},{country}"


def keys(found: list[Row | BadLine]) -> list[str]:
    return [row.key.decode() for row in found if isinstance(row, Row)]


def bad(found: list[Row | BadLine]) -> dict[int, str]:
    return {row.number: row.problem for row in found if isinstance(row, BadLine)}


@pytest.mark.parametrize("closing", ["NL", '"NL"', '"N, L"', '"N\nL"', '"a ""b"""', '""'])
@pytest.mark.parametrize("at", [6, 7, 50, 150, 1999])
def test_a_stray_quote_costs_its_own_line(closing: str, at: int) -> None:
    countries = {5: '"NL', at: closing}
    found = rows(*(record(number, countries.get(number, "NL")) for number in range(1, 2001)))
    assert bad(found) == {6: NOT_CLOSED}
    assert keys(found) == [f"e{number}" for number in range(1, 2001) if number != 5]


@pytest.mark.parametrize("at", [8, 50, 150, 1999])
@pytest.mark.parametrize("stray", ['NL"', '"', '"NL', 'N"L'])
def test_two_stray_quotes_cost_their_own_lines(stray: str, at: int) -> None:
    countries = {5: '"NL', at: stray}
    found = rows(*(record(number, countries.get(number, "NL")) for number in range(1, 2001)))
    # A quote within a cell that is not quoted is text, unless it may be the end of a quoted one.
    assert bad(found).keys() in ({6, at + 1}, {6})
    assert len(found) == 2000
    assert set(keys(found)) >= {f"e{n}" for n in range(1, 2001)} - {"e5", f"e{at}"}


def test_a_stray_quote_in_the_last_line_costs_that_line() -> None:
    found = rows(record(1), record(2, '"NL'))
    assert found[1] == BadLine(3, "not CSV: unexpected end of data")
    assert keys(found) == ["e1"]


@pytest.mark.parametrize(
    "text", ["a line, with commas,\nand a break\n" * 6000, "a\r\rb\r\n" * 200, "\n", ",\n,\n,\n"]
)
def test_a_quoted_cell_with_line_breaks_is_read(text: str) -> None:
    (row, after) = rows(record(1, f'"{text}"'), record(2))
    assert isinstance(row, Row)
    assert orjson.loads(row.value)["country"] == text
    assert isinstance(after, Row)
    assert after.number == 3 + text.count("\n")


def test_a_cell_of_200_kb_is_read() -> None:
    (row,) = rows(record(1, '"' + "x" * 200_000 + '"'))
    assert isinstance(row, Row)
    assert len(row.value) > 200_000


def test_lines_within_a_malformed_record_are_no_records() -> None:
    found = rows('e1,"a\nb",2,3,4', 'e2,"a\nb"c,2,3', record(3))
    assert keys(found) == ["e3"]
    assert bad(found) == {
        2: "5 cells, and the header has 4",
        3: "not CSV: a quote inside a cell that is not quoted",
        4: NOT_CLOSED,
        5: "not CSV: a quote inside a cell that is not quoted",
    }


def test_a_quote_within_a_cell_that_is_not_quoted_is_text() -> None:
    (row,) = rows(record(1, 'pipe of 5"'))
    assert isinstance(row, Row)
    assert orjson.loads(row.value)["country"] == 'pipe of 5"'


def test_a_record_larger_than_any_of_kafka_costs_its_own_line() -> None:
    line = "x" * 100_000 + "\n"
    found = rows(record(1, '"NL'), line * ((1 << 23) // len(line)), record(2))
    assert found[0] == BadLine(2, NOT_CLOSED)
    assert keys(found) == ["e2"]


def test_a_stream_without_end_is_delayed_by_at_most_a_hundred_lines() -> None:
    def lines() -> Iterator[bytes]:
        yield from (f"{HEADER}\n".encode(), record(1, '"NL').encode() + b"\n")
        for number in count(2):
            assert number < 110
            yield record(number).encode() + b"\n"

    source = InputLines("standard input", lines(), None)  # type: ignore[arg-type]
    found = list(islice(csv_rows(source, EVENT_SCHEMA, ("id",)), 3))
    assert bad(found) == {2: NOT_CLOSED}
    assert keys(found) == ["e2", "e3"]


@pytest.mark.parametrize("line", ['a","b', '"""x', '"x""', '5","', '"\n', '"a\n"b', '",'])
def test_time_grows_with_the_size_whatever_the_quotes(line: str) -> None:
    started = time.process_time()
    found = rows(*chain(repeat(line, 20_000), [record(1)]))
    assert bad(found)
    # Twenty thousand lines, each read up to the end, would take minutes.
    assert time.process_time() - started < 5
