"""Index of a pipeline's dead letters: answers queries by SQL, without reading the topics."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from stream_app.dead_letters.dead_letter_reader import DeadLetterReader, DeadLetterRef, Origin
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection, FilterExpression
from stream_app.dead_letters.indexer import Indexer, Notify
from stream_app.dead_letters.ledger import Ledger
from stream_app.errors import SelectionError
from stream_app.topic_kinds import DEAD_LETTER_KINDS
from stream_app.transfer.progress import report_progress

# Groups that an error message lists for an ambiguous prefix.
_MAX_LISTED = 3
_POSITION = "kind, partition, offset"
_REF_COLUMNS = f"{_POSITION}, error_id, topic, source_partition, source_offset"
_REF_TABLES = "dead_letters JOIN contexts ON contexts.id = context"
_REF_COLUMN_COUNT = 7
_ENTRY_COLUMNS = (
    f"{_REF_COLUMNS}, timestamp, fingerprint, code, class, stage, message, key, event_id, size, "
    "attempts, first_failed, last_failed, source_timestamp, model_version, schema_version, "
    "app_version, replay_count, replay_id"
)
_ENTRY_TABLES = f"{_REF_TABLES} JOIN causes ON causes.id = cause"


class DeadLetterCause(NamedTuple):
    """Cause that several dead letters share: a row of the table `causes` without its id."""

    fingerprint: str
    code: str
    error_class: str
    stage: str


class Condition(NamedTuple):
    """SQL expression after WHERE, and the values of its placeholders."""

    sql: str
    values: tuple[Any, ...] = ()

    def and_(self, sql: str, *values: Any) -> "Condition":
        """Return the conjunction of this condition and another.

        >>> ALL.and_("partition = ?", 3)
        Condition(sql='1 AND partition = ?', values=(3,))
        """
        return Condition(f"{self.sql} AND {sql}", (*self.values, *values))


ALL = Condition("1")


def condition_of(
    selection: DeadLetterSelection, causes: Mapping[int, DeadLetterCause]
) -> Condition:
    """Return the condition of a selection, without its expression.

    Args:
        causes: all causes in the index, by id.

    Raises:
        SelectionError: a group is unknown or its prefix is ambiguous.
    """
    found = ALL
    if selection.groups or selection.codes or selection.classes or selection.stages:
        ids = _cause_ids(selection, causes)
        # The + keeps SQLite in the order of the table instead of the index by cause.
        found = found.and_(f"+cause IN ({_placeholders(ids)})", *ids)
    if selection.ids:
        prefixes = " OR ".join(["substr(error_id, 1, ?) = ?"] * len(selection.ids))
        values = [part for prefix in selection.ids for part in (len(prefix), prefix)]
        found = found.and_(f"({prefixes})", *values)
    if selection.keys:
        found = found.and_(f"key IN ({_placeholders(selection.keys)})", *selection.keys)
    if selection.source is not None:
        kind = "labels.dlq" if selection.source == "labels" else "raw.dlq"
        found = found.and_("kind = ?", DEAD_LETTER_KINDS.index(kind))
    first, last = selection.offsets
    for column, operator, value in (
        ("timestamp", ">=", selection.since),
        ("timestamp", "<", selection.until),
        ("source_partition", "=", selection.partition),
        ("source_offset", ">=", first),
        ("source_offset", "<=", last),
    ):
        if value is not None:
            found = found.and_(f"{column} {operator} ?", value)
    return found


def _cause_ids(selection: DeadLetterSelection, causes: Mapping[int, DeadLetterCause]) -> list[int]:
    """Return the ids of the causes that meet the conditions on group, code, class and stage."""
    groups = {_fingerprint(prefix, causes.values()) for prefix in selection.groups}
    return [
        cause_id
        for cause_id, cause in causes.items()
        if (not groups or cause.fingerprint in groups)
        and (not selection.codes or cause.code in selection.codes)
        and (not selection.classes or cause.error_class in selection.classes)
        and (not selection.stages or cause.stage in selection.stages)
    ]


def _fingerprint(prefix: str, causes: Iterable[DeadLetterCause]) -> str:
    """Return the only fingerprint with a prefix."""
    found = sorted(cause.fingerprint for cause in causes if cause.fingerprint.startswith(prefix))
    if prefix in found:
        return prefix
    if not found or not prefix:
        raise SelectionError(
            f"No group of dead letters is {prefix or 'empty'}",
            "List the groups with `stream-app dead-letters groups PIPELINE --all`",
        )
    if len(found) > 1:
        more = ", ..." if len(found) > _MAX_LISTED else ""
        raise SelectionError(
            f"{prefix} is a prefix of {len(found)} groups: {', '.join(found[:_MAX_LISTED])}{more}",
            "Give more characters of the fingerprint",
        )
    return found[0]


def _placeholders(values: Iterable[Any]) -> str:
    return ", ".join("?" for _ in values)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Indexed fields of one dead letter.

    Times are Unix milliseconds. Numbers are 0 and texts empty where the headers lack them.
    `event_id` is None if it is unknown; `size` is that of the value in bytes.
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
    """Dead letters of a pipeline as of the creation of this object.

    Args:
        indexer: brings the index file up to date.
        reader: reads the dead letters for which an expression must be evaluated.
        notify: takes warnings for the user.

    Raises:
        StreamAppError: as `Indexer.update`.
    """

    def __init__(self, indexer: Indexer, reader: DeadLetterReader, notify: Notify) -> None:
        self._indexer = indexer
        self._reader = reader
        self._notify = notify
        self._table_numbers = count()
        self._conditions: dict[DeadLetterSelection, Condition] = {}
        self._file = indexer.update()

    def select(self, selection: DeadLetterSelection) -> Iterator[DeadLetterRef]:
        """Return the selected dead letters by input, partition and offset; there may be none.

        With an expression, all dead letters that meet the other conditions are read first.

        Raises:
            SelectionError: a group is unknown or ambiguous, or the expression is invalid.
        """
        return self._refs(self.condition(selection))

    def count(self, selection: DeadLetterSelection) -> int:
        """Return the number of selected dead letters."""
        return self._count(self.condition(selection))

    def entries(
        self, selection: DeadLetterSelection, limit: int | None = None
    ) -> Iterator[IndexEntry]:
        """Return the entries of selected dead letters, newest first."""
        return self.newest(self.condition(selection), limit)

    def newest(self, condition: Condition, limit: int | None = None) -> Iterator[IndexEntry]:
        """Return the entries that meet a condition, newest first."""
        order = f"ORDER BY timestamp DESC, {_POSITION} LIMIT {-1 if limit is None else limit}"
        return map(_entry_of, self.rows(_ENTRY_COLUMNS, _ENTRY_TABLES, condition, order))

    def condition(self, selection: DeadLetterSelection) -> Condition:
        """Return the condition of a selection, valid for queries of this object only."""
        if selection not in self._conditions:
            expression = None if selection.where is None else FilterExpression(selection.where)
            found = condition_of(selection, self.causes())
            self._conditions[selection] = (
                found if expression is None else self._filtered(expression, found)
            )
        return self._conditions[selection]

    def causes(self) -> dict[int, DeadLetterCause]:
        """Return all causes of present and expired dead letters, by id."""
        query = "SELECT id, fingerprint, code, class, stage FROM causes"
        rows = self._file.database.execute(query)
        return {cause_id: DeadLetterCause(*parts) for cause_id, *parts in rows}

    def rows(
        self, columns: str, tables: str, condition: Condition, clauses: str = ""
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that meet a condition; `clauses` order, group and limit them."""
        query = f"SELECT {columns} FROM {tables} WHERE {condition.sql} {clauses}"
        try:
            for row in self._file.database.execute(query, condition.values):  # noqa: UP028 -- `yield from` would close it
                yield row
        except sqlite3.DatabaseError as error:
            raise self._indexer.query_error(error) from None

    def closed_counts(self, ledger: Ledger, condition: Condition) -> Iterator[tuple[int, str, int]]:
        """Yield cause id, state and number of the dead letters that are not open."""
        database, name = self._file.database, f"closed_{next(self._table_numbers)}"
        database.execute(f"CREATE TEMP TABLE {name} (in_kind, in_partition, start, stop, state)")
        ranges = (
            (DEAD_LETTER_KINDS.index(kind), partition, *rest)
            for (kind, partition), *rest in ledger.closed_ranges()
        )
        database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?)", ranges)
        tables = (
            f"{name} CROSS JOIN dead_letters "
            "ON kind = in_kind AND partition = in_partition AND offset >= start AND offset < stop"
        )
        return self.rows("cause, state, count(*)", tables, condition, "GROUP BY +cause, state")

    def close(self) -> None:
        """Close the index file."""
        self._file.close()

    def _count(self, condition: Condition) -> int:
        return int(next(self.rows("count(*)", "dead_letters", condition))[0])

    def _refs(self, condition: Condition) -> Iterator[DeadLetterRef]:
        order = f"ORDER BY {_POSITION}"
        return map(_ref_of, self.rows(_REF_COLUMNS, _REF_TABLES, condition, order))

    def _filtered(self, expression: FilterExpression, condition: Condition) -> Condition:
        """Return the condition that selects where another one and an expression are true."""
        positions: list[tuple[int, int, int]] = []
        with report_progress("filtering dead letters", self._count(condition)) as progress:
            for number, one in enumerate(self._reader.read(self._refs(condition)), start=1):
                if expression(one):
                    ref = one.ref
                    kind = DEAD_LETTER_KINDS.index(ref.kind)
                    positions.append((kind, ref.partition, ref.offset))
                progress.update(number, number)
        warning = expression.warning()
        if warning is not None:
            self._notify(warning)
        name, database = f"matching_{next(self._table_numbers)}", self._file.database
        columns = f"{_POSITION}, PRIMARY KEY ({_POSITION})"
        database.execute(f"CREATE TEMP TABLE {name} ({columns}) WITHOUT ROWID")
        database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", positions)
        return Condition(f"({_POSITION}) IN (SELECT {_POSITION} FROM {name})")


def _ref_of(row: Sequence[Any]) -> DeadLetterRef:
    """Return the reference in a row of `_REF_COLUMNS`."""
    kind, partition, offset, error_id, *origin = row
    return DeadLetterRef(DEAD_LETTER_KINDS[kind], partition, offset, error_id, Origin(*origin))


def _entry_of(row: Sequence[Any]) -> IndexEntry:
    """Return the entry in a row of `_ENTRY_COLUMNS`."""
    return IndexEntry(_ref_of(row[:_REF_COLUMN_COUNT]), *row[_REF_COLUMN_COUNT:])
