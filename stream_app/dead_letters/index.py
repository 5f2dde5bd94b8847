"""The index of a pipeline's dead letters: what can be told of them without reading the topics."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from stream_app.dead_letters.dead_letter_reader import DeadLetterReader
from stream_app.dead_letters.dead_letter_record import KINDS, DeadLetterRef, Origin
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.filter_expression import FilterExpression
from stream_app.dead_letters.indexing import Indexer, Say
from stream_app.dead_letters.ledger import Ledger
from stream_app.dead_letters.query import Condition, FailureKind, condition_of
from stream_app.transfer.send_progress import reporter

_PLACE = "kind, partition, offset"
_REF_COLUMNS = "kind, partition, offset, error_id, topic, source_partition, source_offset"
_REF_TABLES = "letters JOIN contexts ON contexts.id = context"
_ENTRY_COLUMNS = (
    f"{_REF_COLUMNS}, timestamp, fingerprint, code, class, stage, message, key, event_id, size, attempts, "
    "first_failed, last_failed, source_timestamp, model_version, schema_version, app_version, replay_count, replay_id"
)
_ENTRY_TABLES = f"{_REF_TABLES} JOIN causes ON causes.id = cause"
_REF = 7  # columns


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What the index knows of one dead letter. Times are epoch milliseconds; what its headers lack is 0 or empty.

    `event_id` is None if it cannot be told; `size` is that of the value in bytes.
    """

    ref: DeadLetterRef
    timestamp: int
    group: str
    code: str
    error_class: str
    stage: str
    message: str
    key: bytes | None
    event_id: str | None
    size: int
    attempts: int
    first_failed: int
    last_failed: int
    original_timestamp: int
    model_version: str
    schema_version: str
    app_version: str
    replay_count: int
    replay_id: str


class Index:
    """Up to date as of when it was made; `letters` reads those that an expression has to look into."""

    def __init__(self, indexer: Indexer, letters: DeadLetterReader, say: Say) -> None:
        """Raises as `Indexer.update` does."""
        self._indexer = indexer
        self._letters = letters
        self._say = say
        self._numbers = count()
        self._conditions: dict[DeadLetterSelection, Condition] = {}
        self._store = indexer.update()

    def select(self, selection: DeadLetterSelection) -> Iterator[DeadLetterRef]:
        """The dead letters that are meant, by input, partition and offset; that there are none is no error.

        Raises `SelectionError` for a group that is unknown or not unique, and for a bad expression. FilterExpression there is an
        expression, the letters that meet all other conditions have been read when this returns.
        """
        return self._refs(self.condition(selection))

    def count(self, selection: DeadLetterSelection) -> int:
        """How many they are."""
        return int(next(self.rows("count(*)", "letters", self.condition(selection)))[0])

    def entries(
        self, selection: DeadLetterSelection, limit: int | None = None
    ) -> Iterator[IndexEntry]:
        """What is known of them, the newest first."""
        return self.newest(self.condition(selection), limit)

    def newest(self, condition: Condition, limit: int | None = None) -> Iterator[IndexEntry]:
        """The same by a condition."""
        last = f"ORDER BY timestamp DESC, {_PLACE} LIMIT {-1 if limit is None else limit}"
        return map(_entry_of, self.rows(_ENTRY_COLUMNS, _ENTRY_TABLES, condition, last))

    def condition(self, selection: DeadLetterSelection) -> Condition:
        """The selection for `rows`; holds as long as this index."""
        if selection not in self._conditions:
            where = None if selection.where is None else FilterExpression(selection.where)
            found = condition_of(selection, self.causes())
            self._conditions[selection] = found if where is None else self._met(where, found)
        return self._conditions[selection]

    def causes(self) -> dict[int, FailureKind]:
        """All causes that letters have or had, by number."""
        found = self._store.database.execute(
            "SELECT id, fingerprint, code, class, stage FROM causes"
        )
        return {number: FailureKind(*parts) for number, *parts in found}

    def rows(
        self, columns: str, tables: str, condition: Condition, last: str = ""
    ) -> Iterator[tuple[Any, ...]]:
        """What the index has, where the condition holds; `last` orders, groups and limits."""
        query = f"SELECT {columns} FROM {tables} WHERE {condition.sql} {last}"
        try:
            for row in self._store.database.execute(query, condition.values):  # noqa: UP028 -- `yield from` would close it
                yield row
        except sqlite3.DatabaseError as error:
            raise self._indexer.discarded(error) from None

    def closed(self, ledger: Ledger, condition: Condition) -> Iterator[tuple[int, str, int]]:
        """Of the letters that were acted on, by number of their cause and what became of them, how many there are."""
        database, name = self._store.database, f"closed_{next(self._numbers)}"
        database.execute(f"CREATE TEMP TABLE {name} (in_kind, in_partition, start, stop, state)")
        runs = ((KINDS.index(kind), number, *rest) for (kind, number), *rest in ledger.closed())
        database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?)", runs)
        tables = (
            f"{name} CROSS JOIN letters "
            "ON kind = in_kind AND partition = in_partition AND offset >= start AND offset < stop"
        )
        return self.rows("cause, state, count(*)", tables, condition, "GROUP BY +cause, state")

    def close(self) -> None:
        """Let the file go."""
        self._store.close()

    def _refs(self, condition: Condition) -> Iterator[DeadLetterRef]:
        return map(_ref_of, self.rows(_REF_COLUMNS, _REF_TABLES, condition, f"ORDER BY {_PLACE}"))

    def _met(self, where: FilterExpression, condition: Condition) -> Condition:
        """The condition, and that the expression is true."""
        total = int(next(self.rows("count(*)", "letters", condition))[0])
        places: list[tuple[int, int, int]] = []
        with reporter("looking into dead letters", total) as progress:
            for number, letter in enumerate(self._letters.read(self._refs(condition)), start=1):
                if where(letter):
                    places.append(
                        (KINDS.index(letter.ref.kind), letter.ref.partition, letter.ref.offset)
                    )
                progress.update(number, number)
        complaint = where.complaint()
        if complaint is not None:
            self._say(complaint)
        name, database = f"met_{next(self._numbers)}", self._store.database
        database.execute(
            f"CREATE TEMP TABLE {name} ({_PLACE}, PRIMARY KEY ({_PLACE})) WITHOUT ROWID"
        )
        database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", places)
        return Condition(f"({_PLACE}) IN (SELECT {_PLACE} FROM {name})")


def _ref_of(row: Sequence[Any]) -> DeadLetterRef:
    """From `_REF_COLUMNS`."""
    kind, partition, offset, error_id, *origin = row
    return DeadLetterRef(KINDS[kind], partition, offset, error_id, Origin(*origin))


def _entry_of(row: Sequence[Any]) -> IndexEntry:
    """From `_ENTRY_COLUMNS`."""
    return IndexEntry(_ref_of(row[:_REF]), *row[_REF:])
