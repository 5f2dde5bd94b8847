"""Records of a CSV file; a stray quote costs the line that it is in.

A quoted cell may contain line breaks (RFC 4180), so a quote that is never closed seems to open a
cell that contains the lines after it. A record of several lines is therefore given up if it is
malformed, or if most lines between its first and its last are records themselves: only its first
line is lost, and the others are read again. Lines read again are records of one line, with quotes
as in RFC 4180, so that the rest of a cell is not taken for a record.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from stream_app.transfer.json_lines import BadLine

# Largest record in characters; more than a Kafka record may have.
_MAX_RECORD = 1 << 23
# Lines of an open cell after which they are checked, so that a stray quote in a stream without end
# delays few of them.
_EARLY_CHECK = 100
_NOT_CLOSED = "not CSV: a quoted cell is not closed before a comma or the end of a line"
_QUOTE_INSIDE = "not CSV: a quote inside a cell that is not quoted"
_CELL = r'(?:"(?:[^"]|"")*+"\r?\n?|[^",]*+)'
_STRICT_RECORD = re.compile(rf"{_CELL}(?:,{_CELL})*+")


class CsvRecords:
    """Records of a file, which are read as they are asked for.

    Attributes:
        header: cells of the first record.
        number: number of the first line of the latest record.

    Raises:
        csv.Error: the header is not CSV.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        # The usual limit of a cell is 128 KiB.
        csv.field_size_limit(_MAX_RECORD)
        self._source = _RecordLines(lines)
        self._reader = csv.reader(self._source, strict=True)
        self.header = next(self._reader, [])
        self.number = 1

    def read(self, is_record: Callable[[list[str]], bool]) -> Iterator[list[str] | BadLine]:
        """Yield the cells of each record after the header, as many as the header has.

        Args:
            is_record: returns True for the cells of a record; asked about lines inside a cell.
        """
        source = self._source
        source.is_record = is_record
        reader, lines, width = self._reader, source.lines, len(self.header)
        while True:
            source.start_record()
            self.number = source.number
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield source.give_up(f"not CSV: {error}" if len(lines) == 1 else _NOT_CLOSED)
                continue
            if cells is None:
                return
            if len(cells) == width and len(lines) == 1 and self.number > source.strict_to:
                yield cells
            elif problem := self._problem(cells):
                yield source.give_up(problem)
            elif cells:
                yield cells

    def _problem(self, cells: list[str]) -> str | None:
        """Return the problem of a record, None for a valid one and for an empty line."""
        source, lines = self._source, self._source.lines
        if len(lines) > 1 and source.swallows_records():
            return _NOT_CLOSED
        if self.number <= source.strict_to and not _STRICT_RECORD.fullmatch("".join(lines)):
            return _QUOTE_INSIDE
        if len(cells) == len(self.header) or not cells:
            return None
        return f"{len(cells)} cells, and the header has {len(self.header)}"


class _RecordLines:
    """Iterator over lines that keeps those of the current record, so that it can be given up.

    Attributes:
        lines: lines of the current record.
        number: number of its first line.
        strict_to: number of the last line of any record that was given up.
        is_record: returns True for the cells of a record.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.lines: list[str] = []
        self.number = 1
        self.strict_to = 0
        self.is_record: Callable[[list[str]], bool] = lambda _: False
        self._input = iter(lines)
        self._returned: deque[str] = deque()
        self._size = 0

    def __iter__(self) -> "_RecordLines":
        return self

    def __next__(self) -> str:
        if self.lines:
            self._check_open_cell()
        line = self._returned.popleft() if self._returned else next(self._input).decode()
        self.lines.append(line)
        return line

    def _check_open_cell(self) -> None:
        """Raise `csv.Error` if the cell that the current lines leave open is never closed."""
        count = len(self.lines)
        self._size += len(self.lines[-1])
        # The record that was given up had the same open cell at this place, so that each line is
        # read a bounded number of times.
        if (
            self.number + count <= self.strict_to
            or self._size > _MAX_RECORD
            or (count == _EARLY_CHECK and self.swallows_records())
        ):
            raise csv.Error("a quoted cell is not closed")

    def start_record(self) -> None:
        """Forget the lines of the previous record."""
        self.number += len(self.lines)
        self.lines.clear()
        self._size = 0

    def give_up(self, problem: str) -> BadLine:
        """Reduce the current record to its first line; the other lines are read again."""
        self.strict_to = max(self.strict_to, self.number + len(self.lines) - 1)
        self._returned.extendleft(reversed(self.lines[1:]))
        del self.lines[1:]
        return BadLine(self.number, problem)

    def swallows_records(self) -> bool:
        """Return True if most lines between the first and the last are records themselves."""
        if len(self.lines) < 3:
            return False
        # `csv` rejects a carriage return within a line.
        inside = [line.replace("\r", "") for line in self.lines[1:-1]]
        return 2 * sum(map(self.is_record, csv.reader(inside))) > len(inside)
