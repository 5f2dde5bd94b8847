"""Retry queue: events that failed for an external reason and wait for another attempt."""

from collections.abc import Iterable
from datetime import timedelta
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import orjson

from stream_app.core.scoring.state_codec import record_from_json, record_to_json
from stream_app.records import Output, Record
from stream_app.resilience import Retry
from stream_app.topic_kinds import TopicKind

_MILLISECOND = timedelta(milliseconds=1)
_POSTPONED_MS = 1000

# Limit of the memory of a partition's waiting records.
_MAX_BYTES = 32 * 1024 * 1024


class Attempt(NamedTuple):
    """A record that waits for a retry.

    Attributes:
        record: the record.
        number: number of attempts so far.
        first_failed: time of the first failure in Unix milliseconds.
        due: time of the next attempt in Unix milliseconds.
    """

    record: Record
    number: int
    first_failed: int
    due: int

    def encode(self) -> bytes:
        record = record_to_json(self.record)
        return orjson.dumps([self.number, self.first_failed, self.due, record])


def record_name(record: Record) -> str:
    """Return a name of a record that is unique within a partition's state."""
    return f"{record.topic}/{record.offset}"


class RetryQueue:
    """Waiting records of one partition; part of its keyed state.

    Every change is also a record for a changelog. Times are Unix milliseconds of the wall clock.

    Args:
        declared: declared limits and delays.
        topic: kind of the changelog topic.
        partition: partition of the changelog.
        prefix: prefix of the keys in the changelog.

    Attributes:
        waiting: the waiting records by name.
        bytes: approximate size of their keys, values and headers.
    """

    def __init__(self, declared: Retry, topic: TopicKind, partition: int, prefix: bytes) -> None:
        self.waiting: dict[str, Attempt] = {}
        self.bytes = 0
        self._declared = declared
        self._max_delay = max(declared.max_delay // _MILLISECOND, _POSTPONED_MS)
        self._topic = topic
        self._partition = partition
        self._prefix = prefix
        self._due: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, record: Record, now: int, max_bytes: int) -> Output | None:
        """Let a record that just failed wait for another attempt.

        Args:
            record: the record, perhaps one that waits already.
            now: wall-clock time in Unix milliseconds.
            max_bytes: limit of the size of the changelog record.

        Returns:
            The changelog record. None if the record had its last attempt, is too large, or too many
            records wait already.
        """
        name, declared = record_name(record), self._declared
        before = self.waiting.get(name)
        number, first_failed = (before.number + 1, before.first_failed) if before else (1, now)
        due = now + _delay(declared, number, name)
        give_up_at = first_failed + declared.give_up_after // _MILLISECOND
        if number >= declared.max_attempts or due > give_up_at:
            return None
        attempt = Attempt(before.record if before else record, number, first_failed, due)
        encoded = attempt.encode()
        full = len(self.waiting) >= declared.max_waiting or self.bytes + len(encoded) > _MAX_BYTES
        if len(encoded) > max_bytes or (before is None and full):
            return None
        self._set(name, attempt)
        heappush(self._due, (due, name))
        return Output(self._topic, self._partition, self._key(name), encoded)

    def last_attempt(self, record: Record) -> Attempt | None:
        """Return the last attempt of a record that waits, or None."""
        return self.waiting.get(record_name(record)) if self.waiting else None

    def due(self, now: int, limit: int | None = None) -> list[Record]:
        """Return records whose next attempt is due, earliest first.

        They stay in the queue until `add` or `release`. A record that is due later than the longest
        delay allows is due as well: the clock was set back.
        """
        found: list[Record] = []
        while self._due and len(found) != limit and self._is_due(self._due[0][0], now):
            due, name = entry = heappop(self._due)
            # A record added again in the millisecond of its release has two equal entries.
            while self._due and self._due[0] == entry:
                heappop(self._due)
            attempt = self.waiting.get(name)
            if attempt is not None and attempt.due == due:
                found.append(attempt.record)
        return found

    def postpone(self, records: Iterable[Record], now: int) -> None:
        """Let records that were due, but could not be processed, wait for another second."""
        for record in records:
            name = record_name(record)
            self.waiting[name] = self.waiting[name]._replace(due=now + _POSTPONED_MS)
            heappush(self._due, (now + _POSTPONED_MS, name))

    def release(self, record: Record) -> list[Output]:
        """Remove a record that has its outcome; return the changelog record, if it was waiting."""
        name = record_name(record)
        if name not in self.waiting:
            return []
        self._set(name, None)
        return [Output(self._topic, self._partition, self._key(name), None)]

    def restore(self, name: bytes, value: bytes | None) -> None:
        """Apply one changelog record; `name` is its key without the prefix."""
        if value is None:
            self._set(name.decode(), None)
            return
        number, first_failed, due, record = orjson.loads(value)
        self._set(name.decode(), Attempt(record_from_json(record), number, first_failed, due))

    def finish_restore(self) -> None:
        """Order the waiting records after the last changelog record."""
        self._due = [(attempt.due, name) for name, attempt in self.waiting.items()]
        heapify(self._due)

    def _is_due(self, due: int, now: int) -> bool:
        return not now < due <= now + self._max_delay

    def _set(self, name: str, attempt: Attempt | None) -> None:
        before = self.waiting.pop(name, None)
        self.bytes += _size(attempt) - _size(before)
        if attempt is not None:
            self.waiting[name] = attempt

    def _key(self, name: str) -> bytes:
        return self._prefix + name.encode()


def _delay(declared: Retry, number: int, seed: str) -> int:
    """Return the delay of the next attempt in milliseconds, with deterministic jitter."""
    longest, first = declared.max_delay // _MILLISECOND, declared.initial_delay // _MILLISECOND
    delay = min(longest, first * 2 ** min(number - 1, 30))
    digest = blake2b(f"{seed}/{number}".encode(), digest_size=4).digest()
    jitter = int.from_bytes(digest, "big") / 2**32
    return int(delay * (1 - jitter / 2))


def _size(attempt: Attempt | None) -> int:
    if attempt is None:
        return 0
    headers = sum(len(name) + len(content or b"") for name, content in attempt.record.headers)
    return len(attempt.record.key or b"") + len(attempt.record.value or b"") + headers
