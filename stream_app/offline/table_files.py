"""Files that rows are written to: Parquet, CSV or JSON lines, by the name of the file."""

import csv
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson

from stream_app.errors import OutputError
from stream_app.formatting import iso_time
from stream_app.offline.export_columns import Kind, Row

_MORE = "pip install 'stream-app[laboratory]'"


class TableFile(Protocol):
    """Takes rows in groups; `close` writes what is left. A row has no cell for what is missing."""

    def write(self, rows: list[Row]) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """An object per row; times are epoch milliseconds, as in the log."""

    def __init__(self, file: BinaryIO, columns: Mapping[str, Kind]) -> None:
        self._file = file

    def write(self, rows: list[Row]) -> None:
        self._file.writelines(orjson.dumps(row) + b"\n" for row in rows)

    def close(self) -> None:
        pass


class Csv:
    """A line per row below the names; times in ISO 8601, nothing for what is missing."""

    def __init__(self, file: BinaryIO, columns: Mapping[str, Kind]) -> None:
        self._columns = columns
        self._text = TextIOWrapper(file, encoding="utf-8", newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(columns)

    def write(self, rows: list[Row]) -> None:
        for row in rows:
            self._writer.writerow(
                [_plain(kind, row.get(name)) for name, kind in self._columns.items()]
            )

    def close(self) -> None:
        self._text.detach()


class Parquet:
    """A row group per group of rows; typed, null for what is missing, times in UTC."""

    def __init__(self, file: BinaryIO, columns: Mapping[str, Kind]) -> None:
        import pyarrow
        from pyarrow import parquet

        types = {
            "boolean": pyarrow.bool_(),
            "integer": pyarrow.int64(),
            "number": pyarrow.float64(),
            "text": pyarrow.string(),
            "time": pyarrow.timestamp("ms", "UTC"),
        }
        self._columns = columns
        self._schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
        self._batch = pyarrow.RecordBatch.from_pydict
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, rows: list[Row]) -> None:
        cells = {
            name: [_typed(kind, row.get(name)) for row in rows]
            for name, kind in self._columns.items()
        }
        self._writer.write_batch(self._batch(cells, self._schema))

    def close(self) -> None:
        self._writer.close()


_SHEETS: dict[str, type[JsonLines] | type[Csv] | type[Parquet]] = {
    ".jsonl": JsonLines, ".csv": Csv, ".parquet": Parquet,
}  # fmt: skip


def sheet_for(path: Path) -> type[JsonLines] | type[Csv] | type[Parquet]:
    """What writes a file of that name; OutputError if the name says nothing, or a package is missing."""
    kind = _SHEETS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(
            f"The format of {path} is not known by its name", f"End it in {', '.join(_SHEETS)}"
        )
    if kind is Parquet:
        try:
            import pyarrow.parquet  # noqa: F401  # only whether it is there
        except ImportError:
            raise OutputError(
                "Parquet needs the package pyarrow", f"{_MORE}, or write .jsonl or .csv"
            ) from None
    return kind


def _typed(kind: Kind, value: Any) -> Any:
    """The value as its column has it: where kinds are mixed, as text or a float."""
    if value is None:
        return None
    if kind == "text":
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    return float(value) if kind == "number" else value


def _plain(kind: Kind, value: Any) -> Any:
    if value is None:
        return ""
    if kind == "time":
        return iso_time(value)
    return _typed("text", value) if kind in ("boolean", "text") else value
