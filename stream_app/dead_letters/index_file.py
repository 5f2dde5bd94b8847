"""The file of the index: what is kept of each dead letter, and how far the topics have been read."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stream_app.dead_letters.dead_letter_record import KINDS
from stream_app.errors import OutputError, StreamAppError
from stream_app.kafka.offsets import Place

_VERSION = 1  # of the tables below

COLUMNS = (
    "kind", "partition", "offset", "timestamp", "cause", "context", "key", "message", "attempts", "first_failed",
    "last_failed", "source_partition", "source_offset", "source_timestamp", "replay_count", "error_id", "event_id",
    "size",
)  # fmt: skip
_TABLES = f"""
CREATE TABLE causes (id INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE, code TEXT, class TEXT, stage TEXT);
CREATE TABLE contexts (
    id INTEGER PRIMARY KEY, topic TEXT, model_version TEXT, schema_version TEXT, app_version TEXT, replay_id TEXT,
    UNIQUE (topic, model_version, schema_version, app_version, replay_id)
);
CREATE TABLE letters ({", ".join(COLUMNS)}, PRIMARY KEY (kind, partition, offset)) WITHOUT ROWID;
CREATE INDEX by_cause ON letters (cause, timestamp);
CREATE TABLE positions (kind, partition, next, PRIMARY KEY (kind, partition));
PRAGMA user_version = {_VERSION};
"""
_INSERT = f"INSERT OR REPLACE INTO letters VALUES ({', '.join('?' * len(COLUMNS))})"
_WAIT = 30.0  # seconds for another process to end its transaction


class Last(NamedTuple):
    """By what the last indexed letter of a partition is recognised."""

    offset: int
    timestamp: int
    error_id: str


class IndexFile:
    """The index of one pipeline on one cluster; a kind of topic is its number in `KINDS`.

    Opening it raises `sqlite3.DatabaseError` if the file is damaged, or of another version of this program.
    """

    def __init__(self, file: Path) -> None:
        self.database = sqlite3.connect(
            file, timeout=_WAIT, isolation_level=None, check_same_thread=False
        )
        self._execute = self.database.execute
        try:
            self._open()
        except BaseException:
            self.database.close()
            raise

    def _open(self) -> None:
        for pragma in (
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "cache_size = -65536",
            "temp_store = MEMORY",
        ):
            self._execute(f"PRAGMA {pragma}")
        (version,) = self._execute("PRAGMA user_version").fetchone()
        if version == 0:
            self.database.executescript(f"BEGIN;{_TABLES}COMMIT")
        elif version != _VERSION:
            raise sqlite3.DatabaseError("it is of another version of this program")

    def cause(self, parts: tuple[str, ...]) -> int:
        """The number of a fingerprint, with code, class and stage; made if it is new."""
        self._execute("INSERT OR IGNORE INTO causes VALUES (NULL, ?, ?, ?, ?)", parts)
        return int(
            self._execute("SELECT id FROM causes WHERE fingerprint = ?", parts[:1]).fetchone()[0]
        )

    def context(self, parts: tuple[str, ...]) -> int:
        """The number of topic, versions of model, schema and program, and replay id; made if it is new."""
        self._execute("INSERT OR IGNORE INTO contexts VALUES (NULL, ?, ?, ?, ?, ?)", parts)
        same = "topic = ? AND model_version = ? AND schema_version = ? AND app_version = ? AND replay_id = ?"
        return int(self._execute(f"SELECT id FROM contexts WHERE {same}", parts).fetchone()[0])

    def begin(self) -> None:
        """Begin a transaction; what `cause`, `context`, `add` and `forget` do until `commit` is all there or not."""
        self._execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._execute("COMMIT")

    def rollback(self) -> None:
        if self.database.in_transaction:
            self._execute("ROLLBACK")

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Letters, in their order within each partition, which have now been read up to there."""
        self.database.executemany(_INSERT, rows)
        self.reached({row[:2]: row[2] + 1 for row in rows})

    def reached(self, positions: Mapping[tuple[int, int], int]) -> None:
        """Up to where partitions have been read, by kind and partition."""
        changed = [(*place, offset) for place, offset in positions.items()]
        self.database.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", changed)

    def forget(self, kind: int, partition: int, before: int) -> None:
        """Remove letters that are no longer on their topic."""
        self._execute(
            "DELETE FROM letters WHERE kind = ? AND partition = ? AND offset < ?",
            (kind, partition, before),
        )

    def clear(self) -> None:
        """Remove everything."""
        for table in ("letters", "positions", "causes", "contexts"):
            self._execute(f"DELETE FROM {table}")

    def positions(self) -> dict[tuple[int, int], int]:
        """By kind and partition the offset to go on with."""
        return {
            (kind, partition): after
            for kind, partition, after in self._execute("SELECT * FROM positions")
        }

    def last(self, kind: int, partition: int) -> Last | None:
        """The last letter of a partition."""
        found = self._execute(
            "SELECT offset, timestamp, error_id FROM letters WHERE kind = ? AND partition = ? "
            "ORDER BY offset DESC LIMIT 1",
            (kind, partition),
        ).fetchone()
        return None if found is None else Last(*found)

    def close(self) -> None:
        self.database.close()


def remove(file: Path) -> None:
    """Delete the file of an index, with what sqlite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is bad; otherwise it cannot be used at the moment, as when the disk is full."""
    return type(error) is sqlite3.DatabaseError or "no such" in str(error)


def unusable(file: Path, error: Exception) -> StreamAppError:
    """The error of an index that cannot be written or read."""
    return OutputError(
        f"The index of dead letters {file} cannot be used: {error}",
        "Make room, or set STREAM_APP_DATA_DIR to a folder that this user may write to",
    )


def kind_of(place: Place) -> tuple[int, int]:
    """How the store names a partition of a topic.

    >>> kind_of(("flights.labels.dlq", 3))
    (1, 3)
    """
    kind = next(kind for kind in KINDS if place[0].endswith(f".{kind}"))
    return KINDS.index(kind), place[1]
