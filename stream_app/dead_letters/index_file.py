"""SQLite file of the index: fields of each dead letter, and the offsets that were indexed."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stream_app.errors import OutputError, StreamAppError
from stream_app.kafka.offsets import PartitionId
from stream_app.topic_kinds import DEAD_LETTER_KINDS

# Version of the tables below. A file of another version is discarded and rebuilt.
_VERSION = 2

COLUMNS = (
    "kind", "partition", "offset", "timestamp", "cause", "context", "key", "message", "attempts",
    "first_failed", "last_failed", "source_partition", "source_offset", "source_timestamp",
    "replay_count", "error_id", "event_id", "size",
)  # fmt: skip
_TABLES = f"""
CREATE TABLE causes (
    id INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE, code TEXT, class TEXT, stage TEXT
);
CREATE TABLE contexts (
    id INTEGER PRIMARY KEY, topic TEXT, model_version TEXT, schema_version TEXT, app_version TEXT,
    replay_id TEXT, UNIQUE (topic, model_version, schema_version, app_version, replay_id)
);
CREATE TABLE dead_letters (
    {", ".join(COLUMNS)}, PRIMARY KEY (kind, partition, offset)
) WITHOUT ROWID;
CREATE INDEX by_cause ON dead_letters (cause, timestamp);
CREATE TABLE positions (kind, partition, next, PRIMARY KEY (kind, partition));
PRAGMA user_version = {_VERSION};
"""
_INSERT = f"INSERT OR REPLACE INTO dead_letters VALUES ({', '.join('?' * len(COLUMNS))})"

# Time for another process to end its transaction.
_LOCK_SECONDS = 30.0


class LastIndexed(NamedTuple):
    """Last indexed dead letter of a partition, which tells whether the topic was recreated."""

    offset: int
    timestamp: int
    error_id: str


class IndexFile:
    """Index of one pipeline on one cluster.

    A topic kind is stored as its position in `DEAD_LETTER_KINDS`.

    Raises:
        sqlite3.DatabaseError: the file is damaged, or was written by another version.
    """

    def __init__(self, file: Path) -> None:
        self.database = sqlite3.connect(
            file, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
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
            raise sqlite3.DatabaseError("it was written by another version of this program")

    def cause_id(self, parts: tuple[str, ...]) -> int:
        """Return the id of a cause (fingerprint, code, class, stage), which is added if new."""
        self._execute("INSERT OR IGNORE INTO causes VALUES (NULL, ?, ?, ?, ?)", parts)
        query = "SELECT id FROM causes WHERE fingerprint = ?"
        return int(self._execute(query, parts[:1]).fetchone()[0])

    def context_id(self, parts: tuple[str, ...]) -> int:
        """Return the id of a context, which is added if new.

        A context is topic, model version, schema version, app version and replay id.
        """
        self._execute("INSERT OR IGNORE INTO contexts VALUES (NULL, ?, ?, ?, ?, ?)", parts)
        query = (
            "SELECT id FROM contexts WHERE topic = ? AND model_version = ? "
            "AND schema_version = ? AND app_version = ? AND replay_id = ?"
        )
        return int(self._execute(query, parts).fetchone()[0])

    def begin(self) -> None:
        """Begin a transaction; all changes until `commit` take effect together or not at all."""
        self._execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._execute("COMMIT")

    def rollback(self) -> None:
        if self.database.in_transaction:
            self._execute("ROLLBACK")

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Add rows, ordered by offset within each partition, and move the positions past them."""
        self.database.executemany(_INSERT, rows)
        self.set_positions({row[:2]: row[2] + 1 for row in rows})

    def set_positions(self, positions: Mapping[tuple[int, int], int]) -> None:
        """Store the next offset to index, by kind and partition."""
        rows = [(*partition, offset) for partition, offset in positions.items()]
        self.database.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", rows)

    def delete_before(self, kind: int, partition: int, offset: int) -> None:
        """Delete the dead letters that are no longer on their topic."""
        self._execute(
            "DELETE FROM dead_letters WHERE kind = ? AND partition = ? AND offset < ?",
            (kind, partition, offset),
        )

    def clear(self) -> None:
        """Delete everything."""
        for table in ("dead_letters", "positions", "causes", "contexts"):
            self._execute(f"DELETE FROM {table}")

    def positions(self) -> dict[tuple[int, int], int]:
        """Return the next offset to index, by kind and partition."""
        rows = self._execute("SELECT * FROM positions")
        return {(kind, partition): offset for kind, partition, offset in rows}

    def last(self, kind: int, partition: int) -> LastIndexed | None:
        """Return the last indexed dead letter of a partition."""
        found = self._execute(
            "SELECT offset, timestamp, error_id FROM dead_letters "
            "WHERE kind = ? AND partition = ? ORDER BY offset DESC LIMIT 1",
            (kind, partition),
        ).fetchone()
        return None if found is None else LastIndexed(*found)

    def close(self) -> None:
        self.database.close()


def delete_index(file: Path) -> None:
    """Delete the file of an index, with the files that SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Return True if the file is damaged, False if it is unusable for now, e.g. locked."""
    return type(error) is sqlite3.DatabaseError or "no such" in str(error)


def unusable_index(file: Path, error: Exception) -> StreamAppError:
    """Return the error of an index that cannot be written or read."""
    return OutputError(
        f"The index of dead letters {file} cannot be used: {error}",
        "Free disk space, or set STREAM_APP_DATA_DIR to a folder that this user may write to",
    )


def partition_id(partition: PartitionId) -> tuple[int, int]:
    """Return kind and partition as the index stores them.

    >>> partition_id(("flights.labels.dlq", 3))
    (1, 3)
    """
    kind = next(kind for kind in DEAD_LETTER_KINDS if partition[0].endswith(f".{kind}"))
    return DEAD_LETTER_KINDS.index(kind), partition[1]
