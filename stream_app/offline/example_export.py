"""Export of examples from the log to a table file."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.learning.control import control_in
from stream_app.core.published_records import Example, decode_example
from stream_app.errors import OutputError, SelectionError
from stream_app.files import atomic_file
from stream_app.kafka.offsets import PartitionId
from stream_app.kafka.partition_reader import SILENCE_SECONDS, PartitionReader
from stream_app.offline.table_files import Columns, Row, example_row, table_file_for
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.topic_kinds import topic_name
from stream_app.transfer.consume import parse_since
from stream_app.transfer.progress import ProgressReporter

# Rows in memory at once, and in one row group.
GROUP_ROWS = 16_384


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
        self.controls = self.unreadable = 0

    def rows(self, progress: ProgressReporter) -> Iterator[Row]:
        """Yield the examples as rows, and count the other records."""
        self.controls = self.unreadable = 0
        limits: dict[PartitionId, tuple[int, int]] = {self._partition: (self.start, self.end)}
        for count, message in enumerate(self._reader.records(limits), start=1):
            offset, example = message.offset() or 0, decode_example(message.value(), self._task)
            if isinstance(example, Example):
                yield example_row(offset, example)
            elif control_in(message.key(), message.value()) is None:
                self.unreadable += 1
            else:
                self.controls += 1
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
        return max(self._examples.end - self._examples.start, 0)

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
