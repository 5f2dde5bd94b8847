"""Records that failed for a reason outside and wait to be tried again: part of a partition's keyed state."""

from collections.abc import Iterable
from datetime import timedelta
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import orjson

from stream_app.core.scoring.record_codec import from_json, to_json
from stream_app.records import Output, Record
from stream_app.resilience import Retry
from stream_app.topic_kinds import TopicKind

_MILLISECOND = timedelta(milliseconds=1)
_POSTPONED = 1000  # milliseconds
_MOST_BYTES = 32 * 1024 * 1024  # of all waiting records of a partition, in memory


class Attempt(NamedTuple):
    """A record that has been tried `number` times; `first_failed` and `due` are epoch milliseconds."""

    record: Record
    number: int
    first_failed: int
    due: int

    def encode(self) -> bytes:
        return orjson.dumps([self.number, self.first_failed, self.due, to_json(self.record)])


def position(record: Record) -> str:
    """Names a record within a partition's state."""
    return f"{record.topic}/{record.offset}"


class RetryQueue:
    """The waiting records of one partition, by position, and when each is due.

    Every change is also a record for the changelog `topic`, whose keys begin with `prefix`. Times are epoch
    milliseconds of the clock on the wall.
    """

    def __init__(self, declared: Retry, topic: TopicKind, partition: int, prefix: bytes) -> None:
        self.waiting: dict[str, Attempt] = {}
        self.bytes = 0  # of their keys, values and headers, about
        self._declared = declared
        self._longest = max(declared.max_delay // _MILLISECOND, _POSTPONED)
        self._topic = topic
        self._partition = partition
        self._prefix = prefix
        self._due: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self.waiting)

    def keep(self, record: Record, now: int, largest: int) -> Output | None:
        """Let a record that just failed wait, and give the changelog's record, of at most `largest` bytes.

        None if it has been tried enough, is too large, or too many wait already.
        """
        name, declared = position(record), self._declared
        before = self.waiting.get(name)
        number, first_failed = (before.number + 1, before.first_failed) if before else (1, now)
        due = now + _delay(declared, number, name)
        if (
            number >= declared.max_attempts
            or due > first_failed + declared.give_up_after // _MILLISECOND
        ):
            return None
        attempt = Attempt(before.record if before else record, number, first_failed, due)
        encoded = attempt.encode()
        full = len(self.waiting) >= declared.max_waiting or self.bytes + len(encoded) > _MOST_BYTES
        if len(encoded) > largest or (before is None and full):
            return None
        self._set(name, attempt)
        heappush(self._due, (due, name))
        return Output(self._topic, self._partition, self._key(name), encoded)

    def before(self, record: Record) -> Attempt | None:
        """The last try of a record that waits."""
        return self.waiting.get(position(record)) if self.waiting else None

    def due(self, now: int, most: int | None = None) -> list[Record]:
        """The records that are to be tried now, soonest due first; they wait on until `keep` or `release`.

        What seems to be due later than anything can be, is due: the clock was set back.
        """
        found: list[Record] = []
        while self._due and len(found) != most and not now < self._due[0][0] <= now + self._longest:
            due, name = entry = heappop(self._due)
            while (
                self._due and self._due[0] == entry
            ):  # kept again within the millisecond in which it was released
                heappop(self._due)
            attempt = self.waiting.get(name)
            if attempt is not None and attempt.due == due:
                found.append(attempt.record)
        return found

    def postpone(self, records: Iterable[Record], now: int) -> None:
        """Ask for these again in a second: they were due, but could not be tried yet."""
        for record in records:
            name = position(record)
            self.waiting[name] = self.waiting[name]._replace(due=now + _POSTPONED)
            heappush(self._due, (now + _POSTPONED, name))

    def release(self, record: Record) -> list[Output]:
        """A record has its outcome; the changelog's record of that, if it had been waiting."""
        name = position(record)
        if name not in self.waiting:
            return []
        self._set(name, None)
        return [Output(self._topic, self._partition, self._key(name), None)]

    def restore(self, name: bytes, value: bytes | None) -> None:
        """Take one record of the changelog; `name` is its key without the prefix."""
        if value is None:
            self._set(name.decode(), None)
            return
        number, first_failed, due, record = orjson.loads(value)
        self._set(name.decode(), Attempt(from_json(record), number, first_failed, due))

    def restored(self) -> None:
        """The changelog has been read to its end."""
        self._due = [(attempt.due, name) for name, attempt in self.waiting.items()]
        heapify(self._due)

    def _set(self, name: str, attempt: Attempt | None) -> None:
        before = self.waiting.pop(name, None)
        self.bytes += _size(attempt) - _size(before)
        if attempt is not None:
            self.waiting[name] = attempt

    def _key(self, name: str) -> bytes:
        return self._prefix + name.encode()


def _delay(declared: Retry, number: int, seed: str) -> int:
    """Milliseconds before the next try; the chance in it is the same whenever it is asked for."""
    longest, first = declared.max_delay // _MILLISECOND, declared.initial_delay // _MILLISECOND
    delay = min(longest, first * 2 ** min(number - 1, 30))
    chance = (
        int.from_bytes(blake2b(f"{seed}/{number}".encode(), digest_size=4).digest(), "big") / 2**32
    )
    return int(delay * (1 - chance / 2))


def _size(attempt: Attempt | None) -> int:
    if attempt is None:
        return 0
    headers = sum(len(name) + len(content or b"") for name, content in attempt.record.headers)
    return len(attempt.record.key or b"") + len(attempt.record.value or b"") + headers
