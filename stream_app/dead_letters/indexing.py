"""Bringing the index up to date with the topics."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, Message
from filelock import FileLock, Timeout

from stream_app.dead_letters.dead_letter_record import KINDS
from stream_app.dead_letters.index_file import IndexFile, Last, is_damage, kind_of, remove, unusable
from stream_app.dead_letters.index_view import DeadLetterView
from stream_app.errors import OutputError, StreamAppError
from stream_app.headers import ERROR_ID
from stream_app.kafka.clients import ConnectionErrors
from stream_app.kafka.offsets import Limits, bounds, find_partitions
from stream_app.kafka.topics import topic_name
from stream_app.pipeline import Pipeline
from stream_app.transfer.consume import between
from stream_app.transfer.send_progress import SendProgress, reporter

_TRANSACTION = 20_000  # letters
_MEMORY = 32 * 1024 * 1024  # bytes of values, after which a transaction ends as well
_PATIENCE = 0.5  # seconds for another command, after which it is said that we wait for it

Say = Callable[[str], None]
"""Takes a line about something that the user should know."""


class Indexer:
    """Fills the index in `file` from the topics of a loaded pipeline."""

    def __init__(
        self, file: Path, consumer: Consumer, errors: ConnectionErrors, pipeline: Pipeline, say: Say
    ) -> None:
        self._file = file
        self._consumer = consumer
        self._errors = errors
        self._pipeline = pipeline
        self._say = say

    def update(self) -> IndexFile:
        """The index, up to date with the topics' present ends; only one process at a time works on it.

        Raises `TopicsError` for a missing topic, `AccessError` if the cluster refuses us, `OutputError` if the file
        cannot be written.
        """
        topics = [topic_name(self._pipeline.name, kind) for kind in KINDS]
        places = find_partitions(self._consumer, self._errors, topics)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                return self._updated(bounds(self._consumer, self._errors, places))
        except OSError as error:
            raise unusable(self._file, error) from None

    def discarded(self, error: sqlite3.DatabaseError) -> StreamAppError:
        """The error of an index that shows its damage when it is asked; the next command builds it anew."""
        if not is_damage(error):
            return unusable(self._file, error)
        remove(self._file)
        return OutputError(
            f"The index of dead letters {self._file} is damaged: {error}", "Run the command again"
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = FileLock(self._file.with_suffix(".lock"))
        try:
            lock.acquire(_PATIENCE)
        except Timeout:
            self._say("Waiting for another command that is indexing dead letters")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _updated(self, limits: Limits) -> IndexFile:
        try:
            return self._filled(limits)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise unusable(self._file, error) from None
            self._say(f"The index of dead letters is built anew: {error}")
            remove(self._file)
            return self._filled(limits)

    def _filled(self, limits: Limits) -> IndexFile:
        store = IndexFile(self._file)
        try:
            if not self._is_of_these(store, limits):
                self._say(
                    "The index of dead letters is built anew: the topics have been made anew or truncated"
                )
                with _transaction(store):
                    store.clear()
            self._forget_expired(store, limits)
            self._read_new(store, limits)
        except BaseException:
            store.close()
            raise
        return store

    def _is_of_these(self, store: IndexFile, limits: Limits) -> bool:
        """Whether the topics are those that were indexed: the last letters are still what and where they were."""
        known = {kind_of(place): limit for place, limit in limits.items()}
        if any(after > known.get(place, (0, 0))[1] for place, after in store.positions().items()):
            return False
        lasts = {
            place: last for place in limits if (last := store.last(*kind_of(place))) is not None
        }
        expected = {place: last for place, last in lasts.items() if last.offset >= limits[place][0]}
        asked = {place: (last.offset, last.offset + 1) for place, last in expected.items()}
        found = {
            (message.topic(), message.partition()): _last(message)
            for batch in between(self._consumer, self._errors, asked)
            for message in batch
        }
        return found == expected

    def _forget_expired(self, store: IndexFile, limits: Limits) -> None:
        with _transaction(store):
            for place, (low, _) in limits.items():
                store.forget(*kind_of(place), before=low)

    def _read_new(self, store: IndexFile, limits: Limits) -> None:
        after = store.positions()
        new = {
            place: (max(low, after.get(kind_of(place), 0)), end)
            for place, (low, end) in limits.items()
        }
        total = sum(end - start for start, end in new.values())
        if total > 0:
            with reporter("indexing dead letters", total) as progress:
                self._add(store, new, progress)

    def _add(self, store: IndexFile, new: Limits, progress: SendProgress) -> None:
        key_is_id = self._pipeline.key in (None, self._pipeline.event_id)
        facts = DeadLetterView(
            store.cause, store.context, self._pipeline.event_id, key_is_id=key_is_id
        )
        count = 0
        batches = between(self._consumer, self._errors, new)
        for messages in _gathered(batches):
            with _transaction(store):
                store.add([facts.row(message) for message in messages])
            count += len(messages)
            progress.update(count, count)
        with _transaction(store):
            store.reached({kind_of(place): end for place, (_, end) in new.items()})


def _gathered(batches: Iterator[list[Message]]) -> Iterator[list[Message]]:
    """The records in lists of a transaction's size."""
    gathered: list[Message] = []
    size = 0
    for batch in batches:
        gathered += batch
        size += sum(map(len, batch))
        if len(gathered) >= _TRANSACTION or size >= _MEMORY:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered


def _last(message: Message) -> Last:
    found = dict(message.headers() or ())
    error_id = (found.get(ERROR_ID) or b"").decode("utf-8", "replace")
    return Last(message.offset() or 0, message.timestamp()[1], error_id)


@contextmanager
def _transaction(store: IndexFile) -> Iterator[None]:
    store.begin()
    try:
        yield
    except BaseException:
        store.rollback()
        raise
    store.commit()
