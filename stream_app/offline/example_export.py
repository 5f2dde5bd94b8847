"""Examples of the log as a file."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import control_in, decode_example
from stream_app.errors import OutputError, SelectionError
from stream_app.kafka.clients import ConnectionErrors, bootstrap_servers, make_consumer
from stream_app.kafka.offsets import Place, bounds, find_partitions, offsets_since
from stream_app.offline.export_columns import Columns, Row, flat
from stream_app.offline.table_files import sheet_for
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.status.newest_records import NewestRecords
from stream_app.topic_kinds import topic_name
from stream_app.transfer.record_selection import parse_since
from stream_app.transfer.send_progress import SendProgress

ROWS = 16_384  # in memory at once, and in a row group


class Exported(NamedTuple):
    """What was read of the offsets `start` to `end` (exclusive): `examples` are in the file, the others are not."""

    start: int
    end: int
    examples: int
    controls: int
    unreadable: int


class Log:
    """The examples of one pipeline, from one place in the log to another.

    Places are offsets, or times at which an example was written. Raises SelectionError for one that is neither,
    TopicsError, AccessError and KafkaUnavailableError as every client.
    """

    def __init__(
        self, settings: Settings, pipeline: Pipeline, since: str, until: str | None
    ) -> None:
        errors = ConnectionErrors(bootstrap_servers(settings), settings.kafka)
        consumer = make_consumer(settings, errors)
        self._tail = NewestRecords(consumer, errors)
        (self._place,) = find_partitions(consumer, errors, [topic_name(pipeline.name, "examples")])
        low, high = bounds(consumer, errors, [self._place])[self._place]

        def offset(text: str) -> int:
            if text.isdecimal():
                return int(text)
            return offsets_since(consumer, errors, {self._place: high}, _time(text))[self._place]

        self.start = max(offset(since), low)
        self.end = high if until is None else min(offset(until), high)
        self._task = task_of(pipeline)
        self.controls = self.unreadable = 0

    def rows(self, progress: SendProgress) -> Iterator[Row]:
        """The examples; counts whatever else is there."""
        self.controls = self.unreadable = 0
        limits: dict[Place, tuple[int, int]] = {self._place: (self.start, self.end)}
        for count, message in enumerate(self._tail.between(limits), start=1):
            offset, example = message.offset() or 0, decode_example(message.value(), self._task)
            if isinstance(example, Example):
                yield flat(offset, example)
            elif control_in(message.key(), message.value()) is None:
                self.unreadable += 1
            else:
                self.controls += 1
            progress.update(offset + 1 - self.start, count)


class Export:
    """Writes the examples to a new file, which is there when it is whole, or not at all.

    The log is read twice: `look` finds out the columns, `write` writes them. OutputError if the file is there already,
    cannot be written, or has a name that says no format.
    """

    def __init__(self, log: Log, to: Path) -> None:
        self._log = log
        self._to = to
        self._columns = Columns()
        self._sheet = sheet_for(to)
        if to.exists():
            raise _there(to)

    @property
    def size(self) -> int:
        """How many offsets there are to read."""
        return max(self._log.end - self._log.start, 0)

    def look(self, progress: SendProgress) -> None:
        """Find out which columns there are; SelectionError if there is no example."""
        for row in self._log.rows(progress):
            self._columns.add(row)
        if not self._columns.kinds():
            raise SelectionError(
                f"There is no example from offset {self._log.start} to {self._log.end}",
                "Give other places in the log; `stream-app learning status PIPELINE` says how long it is",
            )

    def write(self, progress: SendProgress) -> Exported:
        """Write them."""
        count, log = 0, self._log
        with _new_file(self._to) as file:
            sheet = self._sheet(file, self._columns.kinds())
            rows = log.rows(progress)
            while group := list(islice(rows, ROWS)):
                sheet.write(group)
                count += len(group)
            sheet.close()
        return Exported(log.start, log.end, count, log.controls, log.unreadable)


@contextmanager
def _new_file(to: Path) -> Iterator[BinaryIO]:
    """A file that gets its name at the end, unless there is one by then."""
    temporary = to.with_name(f".{to.name}-{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, to)  # fails if it is there, which a rename does not
    except FileExistsError:
        raise _there(to) from None
    except OSError as error:
        raise OutputError(
            f"{to} cannot be written: {error.strerror or error}",
            "Name a file in a folder with room",
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _there(to: Path) -> OutputError:
    return OutputError(f"{to} is there already", "Give the name of a new file")


def _time(text: str) -> int:
    time = parse_since(text)
    if time is None:
        raise SelectionError(
            f"{text!r} is no place in the log", "Give an offset, 10m, 2h or 1d ago, or an ISO time"
        )
    return time
