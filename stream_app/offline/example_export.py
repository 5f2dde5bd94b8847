"""Export of examples from the log to a table file: Parquet, CSV or JSON lines."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

import orjson
from msgspec.structs import asdict

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example, decode_example
from stream_app.core.learning.control_commands import Control, control_in
from stream_app.core.reading.identity import key_is_id
from stream_app.core.reading.record_identity import key_text
from stream_app.errors import OutputError, SelectionError
from stream_app.files import atomic_file
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import PartitionId
from stream_app.kafka.partition_reader import SILENCE_SECONDS, PartitionReader
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.topic_kinds import topic_name
from stream_app.transfer.consume import parse_since
from stream_app.transfer.progress import ProgressReporter

_INSTALL = "pip install 'stream-app[offline]'"


ColumnKind = Literal["boolean", "integer", "number", "text", "time"]
Row = Mapping[str, Any]

TIMES = frozenset({"event_time", "label_time"})
_KINDS: dict[type, ColumnKind] = {bool: "boolean", int: "integer", float: "number", str: "text"}
_FEATURES = "features"
# Rows in memory at once, and in one row group.
GROUP_ROWS = 16_384


def example_row(offset: int, example: Example, key: str | None = None) -> dict[str, Any]:
    """Return the example as one row: its offset, its fields, and `feature.NAME` for each feature.

    Args:
        offset: offset in the log.
        example: the example.
        key: text of K, None if it is the event id.

    >>> row = example_row(7, Example("e1", 0, 5, True, 0.5, 3, {"amount": 1.5}, "f1"))
    >>> row["offset"], row["label"], row["feature.amount"]
    (7, True, 1.5)
    """
    own = {} if key is None else {"key": key}
    return {"offset": offset, **own, **dict(_cells(example))}


def _cells(example: Example) -> Iterator[tuple[str, Any]]:
    for name, value in asdict(example).items():
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


class Exported(NamedTuple):
    """Records read from offset `start` up to and without `end`.

    Attributes:
        start: first offset.
        end: offset after the last one.
        examples: examples in the file.
        controls: control records, which are not in the file.
        unreadable: unreadable records, which are not in the file.
    """

    start: int
    end: int
    examples: int
    controls: int
    unreadable: int


class ExampleRange:
    """Range of the examples log of one pipeline.

    Args:
        settings: how to reach the cluster.
        pipeline: pipeline whose log is read.
        since: offset of the first example, or a time when it was written.
        until: offset or time after the last example; None for the present end of the log.

    Raises:
        SelectionError: `since` or `until` is neither an offset nor a time.
        TopicsError, AccessError, KafkaUnavailableError: the log cannot be read.
    """

    def __init__(
        self, settings: Settings, pipeline: Pipeline, since: str, until: str | None
    ) -> None:
        reader = PartitionReader.open(settings, silence=SILENCE_SECONDS)
        self._reader = reader
        (self._partition,) = reader.find_partitions([topic_name(pipeline.name, "examples")])
        low, high = reader.bounds([self._partition])[self._partition]

        def offset(text: str) -> int:
            if text.isdecimal():
                return int(text)
            return reader.offsets_since({self._partition: high}, _time(text))[self._partition]

        self.start = max(offset(since), low)
        self.end = high if until is None else min(offset(until), high)
        self._task = task_of(pipeline)
        self._keyed = not key_is_id(pipeline)
        self.controls = self.unreadable = 0

    @property
    def size(self) -> int:
        """Number of offsets to read."""
        return max(self.end - self.start, 0)

    def rows(self, progress: ProgressReporter) -> Iterator[Row]:
        """Yield the examples as rows, and count the other records."""
        for offset, key, found in self.entries(progress):
            if isinstance(found, Example):
                yield example_row(offset, found, key_text(key) if self._keyed else None)

    def entries(
        self, progress: ProgressReporter
    ) -> Iterator[tuple[int, bytes | None, Example | Control]]:
        """Yield offset, key and content of examples and control records, and count the others."""
        self.controls = self.unreadable = 0
        limits: dict[PartitionId, tuple[int, int]] = {self._partition: (self.start, self.end)}
        for count, message in enumerate(self._reader.records(limits), start=1):
            offset, key = message.offset() or 0, message.key()
            example = decode_example(message.value(), self._task)
            control = None if isinstance(example, Example) else control_in(key, message.value())
            if isinstance(example, Example):
                yield offset, key, example
            elif control is not None:
                self.controls += 1
                yield offset, key, control
            else:
                self.unreadable += 1
            progress.update(offset + 1 - self.start, count)


class ExampleExport:
    """Writes examples to a new file, which appears only when it is complete.

    The log is read twice: `find_columns` collects the columns, `write` writes the rows.

    Args:
        examples: examples to write.
        to: path of the new file; its extension selects the format.

    Raises:
        OutputError: the file exists, cannot be written, or has an unknown extension.
    """

    def __init__(self, examples: ExampleRange, to: Path) -> None:
        self._examples = examples
        self._to = to
        self._columns = Columns()
        self._open_table = table_file_for(to)
        if to.exists():
            raise _exists(to)

    @property
    def size(self) -> int:
        """Number of offsets to read."""
        return self._examples.size

    def find_columns(self, progress: ProgressReporter) -> None:
        """Collect the columns.

        Raises:
            SelectionError: the range has no example.
        """
        for row in self._examples.rows(progress):
            self._columns.add(row)
        if not self._columns.kinds():
            raise SelectionError(
                f"There is no example from offset {self._examples.start} to {self._examples.end}",
                "Select another range; `stream-app learning status PIPELINE` shows its end",
            )

    def write(self, progress: ProgressReporter) -> Exported:
        """Write the rows and return their counts."""
        count, examples = 0, self._examples
        with _new_file(self._to) as file:
            table = self._open_table(file, self._columns.kinds())
            rows = examples.rows(progress)
            while group := list(islice(rows, GROUP_ROWS)):
                table.write(group)
                count += len(group)
            table.close()
        return Exported(examples.start, examples.end, count, examples.controls, examples.unreadable)


@contextmanager
def _new_file(to: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name at the end, unless that name is taken by then."""
    try:
        with atomic_file(to, overwrite=False, durable=True) as file:
            yield file
    except FileExistsError:
        raise _exists(to) from None
    except OSError as error:
        raise OutputError(
            f"{to} cannot be written: {error.strerror or error}",
            "Name a file in a folder with room",
        ) from None


def _exists(to: Path) -> OutputError:
    return OutputError(f"{to} already exists", "Give the name of a new file")


def _time(text: str) -> int:
    time = parse_since(text)
    if time is None:
        raise SelectionError(
            f"{text!r} is neither an offset nor a time",
            "Give an offset, 10m, 2h or 1d ago, or an ISO time",
        )
    return time
