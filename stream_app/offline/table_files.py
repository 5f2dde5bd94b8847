"""Table files of examples, in Parquet, CSV or JSON lines, and their columns."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import orjson

from stream_app.core.published_records import Example
from stream_app.errors import OutputError
from stream_app.formatting import iso_time

_INSTALL = "pip install 'stream-app[offline]'"


ColumnKind = Literal["boolean", "integer", "number", "text", "time"]
Row = Mapping[str, Any]

TIMES = frozenset({"event_time", "label_time"})
_KINDS: dict[type, ColumnKind] = {bool: "boolean", int: "integer", float: "number", str: "text"}
_FEATURES = "features"


def example_row(offset: int, example: Example) -> dict[str, Any]:
    """Return the example as one row: its offset, its fields, and `feature.NAME` for each feature.

    >>> row = example_row(7, Example("e1", 0, 5, True, 0.5, 3, {"amount": 1.5}, "f1"))
    >>> row["offset"], row["label"], row["feature.amount"]
    (7, True, 1.5)
    """
    return {"offset": offset, **dict(_cells(example))}


def _cells(example: Example) -> Iterator[tuple[str, Any]]:
    for name, value in example._asdict().items():
        if isinstance(value, dict):
            prefix = "feature" if name == _FEATURES else name
            yield from ((f"{prefix}.{key}", item) for key, item in value.items())
        else:
            yield name, value


class Columns:
    """Columns of rows, in the order in which they first appear, features last."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[type]] = {}

    def add(self, row: Row) -> None:
        """Add the columns of a row."""
        for name, value in row.items():
            kinds = self._kinds.setdefault(name, set())
            if value is not None:
                kinds.add(type(value))

    def kinds(self) -> dict[str, ColumnKind]:
        """Return the kind of each column: the kind of its values, numbers if mixed, else text."""
        names = sorted(self._kinds, key=lambda name: name.startswith("feature."))
        return {name: "time" if name in TIMES else _common(self._kinds[name]) for name in names}


def _common(kinds: Iterable[type]) -> ColumnKind:
    found = {_KINDS[kind] for kind in kinds}
    if len(found) <= 1:
        return next(iter(found), "text")
    return "number" if found == {"integer", "number"} else "text"


class TableFile(Protocol):
    """File that takes rows in groups; rows have no cell for missing values."""

    def write(self, rows: list[Row]) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """JSON lines: an object per row, times in Unix milliseconds as in the log."""

    def __init__(self, file: BinaryIO, columns: Mapping[str, ColumnKind]) -> None:
        self._file = file

    def write(self, rows: list[Row]) -> None:
        self._file.writelines(orjson.dumps(row) + b"\n" for row in rows)

    def close(self) -> None:
        pass


class Csv:
    """CSV with a header: times in ISO 8601, empty cells for missing values."""

    def __init__(self, file: BinaryIO, columns: Mapping[str, ColumnKind]) -> None:
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
    """Parquet: typed columns, null for missing values, times in UTC."""

    def __init__(self, file: BinaryIO, columns: Mapping[str, ColumnKind]) -> None:
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


_FORMATS: dict[str, type[JsonLines] | type[Csv] | type[Parquet]] = {
    ".jsonl": JsonLines, ".csv": Csv, ".parquet": Parquet,
}  # fmt: skip


def table_file_for(path: Path) -> type[JsonLines] | type[Csv] | type[Parquet]:
    """Return the class that writes a file of that name.

    Raises:
        OutputError: the extension is unknown, or a package is missing.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(
            f"The format of {path} is not known by its name", f"End it in {', '.join(_FORMATS)}"
        )
    if kind is Parquet:
        try:
            # Imported to find out if it is installed.
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise OutputError(
                "Parquet needs the package pyarrow", f"{_INSTALL}, or write .jsonl or .csv"
            ) from None
    return kind


def _typed(kind: ColumnKind, value: Any) -> Any:
    """Return the value in the type of its column: text or float where kinds are mixed."""
    if value is None:
        return None
    if kind == "text":
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    return float(value) if kind == "number" else value


def _plain(kind: ColumnKind, value: Any) -> Any:
    if value is None:
        return ""
    if kind == "time":
        return iso_time(value)
    return _typed("text", value) if kind in ("boolean", "text") else value
