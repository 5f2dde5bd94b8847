"""Brings the index of dead letters up to date with their topics."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Message
from filelock import FileLock, Timeout

from stream_app import headers as names
from stream_app.core.reading.identity import id_fields, identity_text, key_is_id
from stream_app.core.reading.record_identity import IdentityReader
from stream_app.core.reading.selection import is_forwarded
from stream_app.dead_letters.dead_letter_reader import DeadLetter, read_ref
from stream_app.dead_letters.index_file import (
    IndexFile,
    LastIndexed,
    delete_index,
    is_damaged,
    partition_id,
    unusable_index,
)
from stream_app.error_codes import Stage
from stream_app.errors import OutputError, StreamAppError
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.partition_reader import PartitionReader, headers_of
from stream_app.pipeline import Pipeline
from stream_app.topic_kinds import DEAD_LETTER_KINDS, topic_name
from stream_app.transfer.progress import ProgressReporter, report_progress

# A transaction ends after so many dead letters, or so many bytes of values.
_TRANSACTION_RECORDS = 20_000
_TRANSACTION_BYTES = 32 * 1024 * 1024

# Time to wait silently for another command that is indexing.
_LOCK_SECONDS = 0.5

# Larger values are not decoded to find the event id.
_MAX_DECODED_BYTES = 64 * 1024

_INGEST = Stage.INGEST.encode()

Notify = Callable[[str], None]
"""Takes a line that informs the user."""

FindId = Callable[[tuple[str, ...]], int]
"""Returns the id of texts that many dead letters share."""


class Indexer:
    """Fills an index file from the dead-letter topics of a loaded pipeline."""

    def __init__(
        self,
        file: Path,
        reader: PartitionReader,
        pipeline: Pipeline,
        notify: Notify,
    ) -> None:
        self._file = file
        self._reader = reader
        self._pipeline = pipeline
        self._notify = notify

    def update(self) -> IndexFile:
        """Return the index, brought up to date with the present ends of the topics.

        Only one process at a time updates an index; others wait.

        Raises:
            TopicsError: a topic is missing.
            AccessError: a topic may not be read.
            OutputError: the file cannot be written.
        """
        topics = [topic_name(self._pipeline.name, kind) for kind in DEAD_LETTER_KINDS]
        partitions = self._reader.find_partitions(topics)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                return self._update(self._reader.bounds(partitions))
        except OSError as error:
            raise unusable_index(self._file, error) from None

    def query_error(self, error: sqlite3.DatabaseError) -> StreamAppError:
        """Return the error of a failed query; a damaged file is deleted, to be rebuilt."""
        if not is_damaged(error):
            return unusable_index(self._file, error)
        delete_index(self._file)
        return OutputError(
            f"The index of dead letters {self._file} is damaged: {error}", "Run the command again"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self._file.with_suffix(".lock"))
        try:
            lock.acquire(_LOCK_SECONDS)
        except Timeout:
            self._notify("Waiting for another command that is indexing dead letters")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _update(self, limits: OffsetBounds) -> IndexFile:
        try:
            return self._fill(limits)
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise unusable_index(self._file, error) from None
            self._notify(f"Rebuilding the index of dead letters: {error}")
            delete_index(self._file)
            return self._fill(limits)

    def _fill(self, limits: OffsetBounds) -> IndexFile:
        file = IndexFile(self._file)
        try:
            if not self._matches_topics(file, limits):
                self._notify(
                    "Rebuilding the index of dead letters: the topics were recreated or truncated"
                )
                with _transaction(file):
                    file.clear()
            self._delete_expired(file, limits)
            self._index_new(file, limits)
        except BaseException:
            file.close()
            raise
        return file

    def _matches_topics(self, file: IndexFile, limits: OffsetBounds) -> bool:
        """Return True if the topics still hold the last indexed dead letters at their offsets."""
        ends = {partition_id(partition): end for partition, (_, end) in limits.items()}
        positions = file.positions().items()
        if any(position > ends.get(partition, 0) for partition, position in positions):
            return False
        indexed = {partition: file.last(*partition_id(partition)) for partition in limits}
        expected = {
            partition: last
            for partition, last in indexed.items()
            if last is not None and last.offset >= limits[partition][0]
        }
        requested = {
            partition: (last.offset, last.offset + 1) for partition, last in expected.items()
        }
        found = {
            (message.topic(), message.partition()): _last_indexed(message)
            for message in self._reader.records(requested)
        }
        return found == expected

    def _delete_expired(self, file: IndexFile, limits: OffsetBounds) -> None:
        with _transaction(file):
            for partition, (low, _) in limits.items():
                file.delete_before(*partition_id(partition), low)

    def _index_new(self, file: IndexFile, limits: OffsetBounds) -> None:
        positions = file.positions()
        new = {
            partition: (max(low, positions.get(partition_id(partition), 0)), end)
            for partition, (low, end) in limits.items()
        }
        total = sum(end - start for start, end in new.values())
        if total > 0:
            with report_progress("indexing dead letters", total) as progress:
                self._add(file, new, progress)

    def _add(self, file: IndexFile, new: OffsetBounds, progress: ProgressReporter) -> None:
        rows = IndexRowBuilder(file.cause_id, file.context_id, self._pipeline)
        count = 0
        for messages in _transactions(self._reader.batches(new)):
            with _transaction(file):
                file.add([rows.row(message) for message in messages])
            count += len(messages)
            progress.update(count, count)
        with _transaction(file):
            file.set_positions({partition_id(one): end for one, (_, end) in new.items()})


class IndexRowBuilder:
    """Converts messages to index rows; never raises, whatever the message holds.

    Args:
        causes: returns the id of a cause.
        contexts: returns the id of a context.
        pipeline: loaded pipeline, which declares the event id and the key.
    """

    def __init__(self, causes: FindId, contexts: FindId, pipeline: Pipeline) -> None:
        self._cause = lru_cache(maxsize=10_000)(lambda *parts: causes(tuple(map(_text, parts))))
        self._context = lru_cache(maxsize=10_000)(lambda *parts: contexts(tuple(map(_text, parts))))
        self._id_fields = id_fields(pipeline)
        self._key_is_id = key_is_id(pipeline)
        self._identities = [IdentityReader(pipeline, label=label) for label in (False, True)]

    def row(self, message: Message) -> tuple[Any, ...]:
        """Return the values of `index_file.COLUMNS`."""
        headers = headers_of(message)
        get = dict(headers).get
        code = get(names.ERROR_CODE) or b"unknown"
        key, value = message.key(), message.value()
        is_label = (message.topic() or "").endswith(".labels.dlq")
        return (
            DEAD_LETTER_KINDS.index("labels.dlq" if is_label else "raw.dlq"),
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            self._cause(
                get(names.ERROR_FINGERPRINT) or code,
                code,
                get(names.ERROR_CLASS),
                get(names.ERROR_STAGE),
            ),
            self._context(
                get(names.ORIGINAL_TOPIC),
                get(names.MODEL_VERSION),
                get(names.SCHEMA_VERSION),
                get(names.APP_VERSION),
                get(names.REPLAY_ID),
            ),
            key,
            _text(get(names.ERROR_MESSAGE)),
            _number(get(names.ERROR_ATTEMPTS)),
            _milliseconds(get(names.ERROR_FIRST_FAILED_AT)),
            _milliseconds(get(names.ERROR_LAST_FAILED_AT)),
            _number(get(names.ORIGINAL_PARTITION)),
            _number(get(names.ORIGINAL_OFFSET)),
            _number(get(names.ORIGINAL_TIMESTAMP)),
            _number(get(names.REPLAY_COUNT)),
            _text(get(names.ERROR_ID)),
            self._find_forwarded_id(message, is_label=is_label)
            if is_forwarded(headers)
            else self._find_event_id(key, value),
            len(value or b""),
        )

    def _find_forwarded_id(self, message: Message, *, is_label: bool) -> str | None:
        """Return the event id in the dead letter of a source's record, None if it is unknown."""
        letter = DeadLetter.of(read_ref("labels.dlq" if is_label else "raw.dlq", message), message)
        if len(letter.value or b"") > _MAX_DECODED_BYTES:
            return None
        return self._identities[is_label].read(letter.original_record()).event_id

    def _find_event_id(self, key: bytes | None, value: bytes | None) -> str | None:
        if value and len(value) <= _MAX_DECODED_BYTES:
            try:
                fields = orjson.loads(value)
            except orjson.JSONDecodeError:
                fields = None
            found = identity_text(fields, self._id_fields) if type(fields) is dict else None
            if found is not None:
                return found
        return _text(key) if self._key_is_id and key is not None else None


def _transactions(batches: Iterator[list[Message]]) -> Iterator[list[Message]]:
    """Yield the messages in lists of one transaction each."""
    messages: list[Message] = []
    size = 0
    for batch in batches:
        messages += batch
        size += sum(map(len, batch))
        if len(messages) >= _TRANSACTION_RECORDS or size >= _TRANSACTION_BYTES:
            yield messages
            messages, size = [], 0
    if messages:
        yield messages


def _last_indexed(message: Message) -> LastIndexed:
    error_id = _text(dict(headers_of(message)).get(names.ERROR_ID))
    return LastIndexed(message.offset() or 0, message.timestamp()[1], error_id)


@contextmanager
def _transaction(file: IndexFile) -> Iterator[None]:
    file.begin()
    try:
        yield
    except BaseException:
        file.rollback()
        raise
    file.commit()


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


def _number(content: bytes | None) -> int:
    """Return a decimal number that fits into SQLite's integers, 0 for anything else."""
    return int(content) if content is not None and len(content) < 19 and content.isdigit() else 0


@lru_cache(maxsize=10_000)
def _milliseconds(content: bytes | None) -> int:
    """Return the Unix milliseconds of an ISO 8601 time, 0 for anything else."""
    try:
        return round(datetime.fromisoformat(_text(content)).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return 0
