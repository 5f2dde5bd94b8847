"""Blocks of predictions in the changelog: what is not written yet, what is alive, the floor."""

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.state_changelog import (
    BLOCK_PREFIX,
    FLOOR_KEY,
    TOPIC,
    RestoreFloor,
    encode_block,
)
from stream_app.records import Output

# Largest size of a character of an id, and of the framing of a prediction and its id.
_CHARACTER_BYTES = 4
_FRAMING_BYTES = 10

BlockEntry = tuple[int, str, bytes]
"""Event time, identity and packed prediction."""

NO_FLOOR = RestoreFloor(NEVER, "")


class BlockLimits(NamedTuple):
    """Limits of a block.

    Attributes:
        enough: predictions that are enough to write a block at once.
        least: fewer predictions become single records.
        bytes: largest sum of the sizes of its predictions and ids; every limit of the topic is
            larger.
    """

    enough: int = 100
    least: int = 8
    bytes: int = 48 * 1024


BLOCK_LIMITS = BlockLimits()


class PredictionBlocks:
    """Predictions of a partition that have no single record.

    Args:
        partition: partition of the changelog.
        span: largest time in milliseconds from the median event time of a block to a later one.
        limits: limits of a block.

    Attributes:
        next_number: number of the next block.
        floor: prediction or joined event that was removed last.
        unwritten: event time and packed prediction of what is not written yet, by identity.
        unwritten_bytes: size of the packed predictions that were added since the last block.
    """

    def __init__(self, partition: int, span: int, limits: BlockLimits) -> None:
        self.next_number = 0
        self.floor = NO_FLOOR
        self.unwritten: dict[str, tuple[int, bytes]] = {}
        self._partition = partition
        self._span = span
        self._limits = limits
        self.unwritten_bytes = 0
        self._written_floor = NO_FLOOR
        # Last prediction of each block that is alive, by number, and all of them as a heap.
        self._last: dict[int, RestoreFloor] = {}
        self._heap: list[tuple[RestoreFloor, int]] = []

    @property
    def alive(self) -> Mapping[int, RestoreFloor]:
        """Last prediction, by event time and id, of each block that is not deleted."""
        return self._last

    @property
    def is_full(self) -> bool:
        """True if the unwritten predictions are enough for a block."""
        limits = self._limits
        return len(self.unwritten) >= limits.enough or self.unwritten_bytes >= limits.bytes

    def write(self) -> tuple[list[Output], list[tuple[str, bytes]]]:
        """Return the records of the unwritten predictions.

        Returns:
            Blocks, and the predictions that need single records, with their ids.
        """
        entries = [(time, identity, one) for identity, (time, one) in self.unwritten.items()]
        # More than the size of all, since some may have been discarded.
        size = self.unwritten_bytes + sum(map(_added_bytes, self.unwritten))
        self.unwritten, self.unwritten_bytes = {}, 0
        fitting, singles = self._separated(entries)
        groups = [fitting] if size <= self._limits.bytes else self._groups(fitting)
        blocks: list[Output] = []
        for group in groups:
            if len(group) < self._limits.least:
                singles += [(identity, packed) for _, identity, packed in group]
            else:
                blocks.append(self._block(group))
        return blocks, singles

    def is_removed(self, event_time: int, identity: str) -> bool:
        """Return True if a prediction of a block with this time and id was removed."""
        floor_time, floor_id = self.floor
        return event_time < floor_time or (event_time == floor_time and identity <= floor_id)

    def raise_floor(self, event_time: int, identity: str) -> None:
        """Move the floor to a prediction or joined event that is removed."""
        if not self.is_removed(event_time, identity):
            self.floor = RestoreFloor(event_time, identity)

    def floor_records(self) -> list[Output]:
        """Return the record of a floor that has moved, and the tombstones of blocks below it."""
        if self.floor == self._written_floor:
            return []
        self._written_floor = self.floor
        outputs = [Output(TOPIC, self._partition, FLOOR_KEY, self.floor.encode())]
        while self._heap and self._heap[0][0] <= self.floor:
            _, number = heappop(self._heap)
            if self._last.pop(number, None) is not None:
                outputs.append(Output(TOPIC, self._partition, _key(number), None))
        return outputs

    def restore_floor(self, floor: RestoreFloor) -> None:
        """Set the floor that the changelog contains."""
        self.floor = self._written_floor = floor

    def set_block(self, number: int, last: RestoreFloor | None) -> None:
        """Add a block of the changelog with its last prediction, or remove it for None."""
        if last is None:
            self._last.pop(number, None)
        else:
            self._last[number] = last
            heappush(self._heap, (last, number))

    def _separated(
        self, entries: list[BlockEntry]
    ) -> tuple[list[BlockEntry], list[tuple[str, bytes]]]:
        """Return predictions that may be in a block, and those that must not be."""
        times = [time for time, _, _ in entries]
        latest = self._latest(times)
        if min(times, default=0) > self.floor.event_time and max(times, default=0) <= latest:
            return entries, []
        fitting: list[BlockEntry] = []
        singles: list[tuple[str, bytes]] = []
        for time, identity, packed in entries:
            if time > latest or self.is_removed(time, identity):
                singles.append((identity, packed))
            else:
                fitting.append((time, identity, packed))
        return fitting, singles

    def _groups(self, entries: list[BlockEntry]) -> Iterator[list[BlockEntry]]:
        """Yield predictions that are small enough for one block."""
        group: list[BlockEntry] = []
        size = 0
        for entry in entries:
            added = len(entry[2]) + _added_bytes(entry[1])
            if size + added > self._limits.bytes:
                yield group
                group, size = [], 0
            group.append(entry)
            size += added
        yield group

    def _latest(self, times: list[int]) -> float:
        """Return the latest event time of a prediction that may be in a block with the others."""
        is_narrow = not times or max(times) - min(times) <= self._span
        return inf if is_narrow else sorted(times)[(len(times) - 1) // 2] + self._span

    def _block(self, group: list[BlockEntry]) -> Output:
        """Return the record of a new block."""
        number, self.next_number = self.next_number, self.next_number + 1
        times, ids, packed = zip(*group, strict=True)
        last = RestoreFloor(*max(zip(times, ids, strict=True)))
        self.set_block(number, last)
        return Output(TOPIC, self._partition, _key(number), encode_block(last, ids, packed))


def _added_bytes(identity: str) -> int:
    """Return the largest size of an id and the framing in a block."""
    return _FRAMING_BYTES + _CHARACTER_BYTES * len(identity)


def _key(number: int) -> bytes:
    return BLOCK_PREFIX + b"%d" % number
