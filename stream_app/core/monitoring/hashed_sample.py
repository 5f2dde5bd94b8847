"""Sample of records that does not depend on their order: those with the smallest hashes."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

# Records, and values of all their variables together, that a sample keeps.
MAX_RECORDS = 2000
MAX_VALUES = 20_000

_hash_of = itemgetter(0)


def identity_hash(key: bytes | None, event_id: str) -> int:
    """Return the hash of K and an event id, from 0 to 2**64 - 1."""
    digest = blake2b((key or b"") + b"\0" + event_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest)


class HashedRecord(NamedTuple):
    """Record of a sample: the hash of its identity, and its variables."""

    hash: int
    variables: Mapping[str, Any]


class HashedSample:
    """Records with the smallest hashes, as many as fit.

    Samples of parts of the records, added together, are the sample of all of them.

    Args:
        records: records with the smallest hashes, in the order of these.
        seen: number of records offered.
    """

    def __init__(self, records: Iterable[HashedRecord] = (), seen: int = 0) -> None:
        self.records = list(records)
        self.seen = seen
        self._values = sum(len(record.variables) for record in self.records)

    def add(self, record: HashedRecord) -> None:
        """Offer a record."""
        self.seen += 1
        self._insert(record)

    def merge(self, other: "HashedSample") -> None:
        """Add the records of another sample."""
        self.seen += other.seen
        for record in other.records:
            self._insert(record)

    def _insert(self, record: HashedRecord) -> None:
        records = self.records
        if len(records) >= MAX_RECORDS and record.hash >= records[-1].hash:
            return
        records.insert(bisect_left(records, record.hash, key=_hash_of), record)
        self._values += len(record.variables)
        while len(records) > MAX_RECORDS or (self._values > MAX_VALUES and len(records) > 1):
            self._values -= len(records.pop().variables)
