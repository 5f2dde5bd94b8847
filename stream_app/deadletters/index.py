"""The index of a pipeline's dead letters: what can be told of them without reading the topics."""

import sqlite3
from collections.abc import Iterator
from itertools import count
from typing import Any

from stream_app.clients.progress import reporter
from stream_app.deadletters.entry import ENTRY_COLUMNS, ENTRY_TABLES, REF_COLUMNS, REF_TABLES, Entry, entry_of, ref_of
from stream_app.deadletters.indexing import Indexer, Say
from stream_app.deadletters.letter import KINDS, Ref
from stream_app.deadletters.letters import Letters
from stream_app.deadletters.query import Cause, Condition, condition_of
from stream_app.deadletters.selection import Selection
from stream_app.deadletters.where import Where

_PLACE = "kind, partition, offset"


class Index:
    """Up to date as of when it was made; `letters` reads those that an expression has to look into."""

    def __init__(self, indexer: Indexer, letters: Letters, say: Say) -> None:
        """Raises as `Indexer.update` does."""
        self._indexer = indexer
        self._letters = letters
        self._say = say
        self._numbers = count()
        self._conditions: dict[Selection, Condition] = {}
        self._store = indexer.update()

    def select(self, selection: Selection) -> Iterator[Ref]:
        """The dead letters that are meant, by input, partition and offset; that there are none is no error.

        Raises `SelectionError` for a group that is unknown or not unique, and for a bad expression. Where there is an
        expression, the letters that meet all other conditions have been read when this returns.
        """
        return self._refs(self.condition(selection))

    def count(self, selection: Selection) -> int:
        """How many they are."""
        return int(next(self.rows("count(*)", "letters", self.condition(selection)))[0])

    def entries(self, selection: Selection, limit: int | None = None) -> Iterator[Entry]:
        """What is known of them, the newest first."""
        return self.newest(self.condition(selection), limit)

    def newest(self, condition: Condition, limit: int | None = None) -> Iterator[Entry]:
        """The same by a condition."""
        last = f"ORDER BY timestamp DESC, {_PLACE} LIMIT {-1 if limit is None else limit}"
        return map(entry_of, self.rows(ENTRY_COLUMNS, ENTRY_TABLES, condition, last))

    def condition(self, selection: Selection) -> Condition:
        """The selection for `rows`; holds as long as this index."""
        if selection not in self._conditions:
            where = None if selection.where is None else Where(selection.where)
            found = condition_of(selection, self.causes())
            self._conditions[selection] = found if where is None else self._met(where, found)
        return self._conditions[selection]

    def causes(self) -> dict[int, Cause]:
        """All causes that letters have or had, by number."""
        found = self._store.database.execute("SELECT id, fingerprint, code, class, stage FROM causes")
        return {number: Cause(*parts) for number, *parts in found}

    def rows(self, columns: str, tables: str, condition: Condition, last: str = "") -> Iterator[tuple[Any, ...]]:
        """What the index has, where the condition holds; `last` orders, groups and limits."""
        query = f"SELECT {columns} FROM {tables} WHERE {condition.sql} {last}"
        try:
            for row in self._store.database.execute(query, condition.values):  # noqa: UP028 -- `yield from` would close it
                yield row
        except sqlite3.DatabaseError as error:
            raise self._indexer.discarded(error) from None

    def close(self) -> None:
        """Let the file go."""
        self._store.close()

    def _refs(self, condition: Condition) -> Iterator[Ref]:
        return map(ref_of, self.rows(REF_COLUMNS, REF_TABLES, condition, f"ORDER BY {_PLACE}"))

    def _met(self, where: Where, condition: Condition) -> Condition:
        """The condition, and that the expression is true."""
        total = int(next(self.rows("count(*)", "letters", condition))[0])
        places: list[tuple[int, int, int]] = []
        with reporter("looking into dead letters", total) as progress:
            for number, letter in enumerate(self._letters.read(self._refs(condition)), start=1):
                if where(letter):
                    places.append((KINDS.index(letter.ref.kind), letter.ref.partition, letter.ref.offset))
                progress.update(number, number)
        complaint = where.complaint()
        if complaint is not None:
            self._say(complaint)
        name, database = f"met_{next(self._numbers)}", self._store.database
        database.execute(f"CREATE TEMP TABLE {name} ({_PLACE}, PRIMARY KEY ({_PLACE})) WITHOUT ROWID")
        database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", places)
        return Condition(f"({_PLACE}) IN (SELECT {_PLACE} FROM {name})")
