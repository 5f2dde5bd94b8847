"""Alignment of the logs of the monitor, and the times that all partitions have passed.

`docs/windows.md` has the rules, and what breaks without them.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from stream_app.core.monitoring.partition_watermark import PartitionWatermark, holding
from stream_app.core.reading.event_time import NEVER

STEP_MS = 900_000
"""Watermarks count in steps of this length: windows begin and end at multiples of it."""
DAY_MS = 86_400_000
# A larger step of the time is an error of a clock.
MAX_STEP_MS = 60 * DAY_MS
# Times that may wait for records to be read. More watermarks are not read then, because all of this
# is part of the state.
MAX_PENDING = 1_000

Passed = Literal["events", "clock", "window"]


def floor_time(time: int, length: int) -> int:
    """Return the last multiple of a length that is not after a time; `NEVER` stays as it is.

    >>> floor_time(1_000_000, STEP_MS), floor_time(NEVER, STEP_MS) == NEVER
    (900000, True)
    """
    return NEVER if time == NEVER else time - time % length


class PassedTime(NamedTuple):
    """Time that every partition has passed.

    Attributes:
        kind: "events" closes windows of scored records, "clock" those of labels; "window" is a
            command at a time of the events.
        time: Unix milliseconds, a multiple of `STEP_MS`.
        length: length of windows that the command sets in milliseconds, else 0.
    """

    kind: Passed
    time: int
    length: int = 0


class WatermarkStep(NamedTuple):
    """Watermark of the scored records of a partition from an offset on, up to the next step."""

    offset: int
    time: int


class PendingTime(NamedTuple):
    """Times that every partition has passed in the log of watermarks.

    Attributes:
        events: time that the events have passed.
        clock: time that the clocks have passed.
        examples: offset up to which the examples are read before the clocks' windows close.
        length: length of windows that a command sets then, 0 without a command.
    """

    events: int
    clock: int
    examples: int
    length: int = 0


@dataclass(slots=True)
class AlignedPartition:
    """Watermarks of one partition.

    Attributes:
        position: next offset of its scored records.
        newest: its newest watermark, None before the first.
        steps: watermarks from the one at the position on; the last one ends at `newest.scored`,
            where the next watermark begins.
    """

    position: int = 0
    newest: PartitionWatermark | None = None
    steps: deque[WatermarkStep] = field(default_factory=deque)

    def add_step(self, offset: int, time: int) -> None:
        """Add a watermark if it is later than the last one."""
        if time > self.steps[-1].time:
            self.steps.append(WatermarkStep(offset, time))


class LogAlignment:
    """Aligns the monitor's logs by the watermarks that scorers publish.

    A scored record may be read once it is known which watermark of its partition holds at its
    offset, and unless its partition is more than a day ahead of the slowest one. Every partition
    passes a time at an offset of its own, which the log of watermarks determines. So what has been
    read when all have passed it does not depend on how the reading of the logs was interleaved.

    Args:
        partitions: numbers of the partitions.

    Attributes:
        events: time that the events of all partitions have passed, `NEVER` before any.
        clock: time that the clocks of all partitions have passed.
        examples: next offset of the examples.
    """

    def __init__(self, partitions: Sequence[int]) -> None:
        self._partitions = {number: AlignedPartition() for number in partitions}
        self.events = NEVER
        self.clock = NEVER
        self.examples = 0
        # Times that all partitions have passed in the log of watermarks, as far as it is read.
        self._events = NEVER
        self._clock = NEVER
        self._pending: deque[PendingTime] = deque()
        self._first_example: int | None = None

    def add(self, found: PartitionWatermark) -> None:
        """Add the next record of the log of watermarks."""
        partition = self._partitions.get(found.partition)
        if partition is None:
            return
        if partition.newest is None:
            partition.steps.append(WatermarkStep(found.scored, floor_time(found.events, STEP_MS)))
        else:
            # An idle partition is passed by the others; what it scores afterwards is behind that.
            partition.add_step(partition.newest.scored, self._events)
            partition.add_step(found.scored, floor_time(found.events, STEP_MS))
        partition.newest = found
        self._pass_times()

    def change_window(self, length: int) -> None:
        """Add a command to change the length of windows, the next record of the log."""
        self._pending.append(PendingTime(self._events, self._clock, self._known_examples(), length))

    @property
    def is_full(self) -> bool:
        """True while so many times wait for records that no more watermarks should be added."""
        return len(self._pending) >= MAX_PENDING

    def scored_limit(self, number: int) -> int:
        """Return the offset up to which the scored records of a partition may be read now."""
        partition = self._partitions[number]
        if partition.newest is None:
            return 0
        last = floor_time(self.events, DAY_MS)
        last = NEVER if last == NEVER else last + 2 * DAY_MS - 1
        ahead = (step.offset for step in partition.steps if step.time > last)
        return min(partition.newest.scored, next(ahead, partition.newest.scored))

    def examples_limit(self) -> int:
        """Return the offset up to which the examples may be read now."""
        if self._first_example is None:
            return 0
        due = (one.examples for one in self._pending if one.clock > self.clock)
        return next(due, self._known_examples())

    def reached(self, number: int, offset: int) -> int | None:
        """Return the watermark that holds at an offset of a partition's scored records.

        Offsets never go back. None stands for a record from before the first known watermark.
        """
        partition = self._partitions[number]
        steps = partition.steps
        while len(steps) > 1 and steps[1].offset <= offset:
            steps.popleft()
        partition.position = offset + 1
        return steps[0].time if steps and steps[0].offset <= offset else None

    def counts_example(self, offset: int) -> bool:
        """Move on to an example; returns False for one from before the first known watermarks."""
        self.examples = offset + 1
        return self._first_example is not None and offset >= self._first_example

    def move(self, number: int, position: int) -> None:
        """Move on to a later offset of a partition, without records up to it."""
        partition = self._partitions[number]
        partition.position = max(partition.position, position)

    def pass_next(self) -> PassedTime | None:
        """Return the next time that all partitions have passed, None if they wait for records."""
        while self._pending:
            due = self._pending[0]
            if due.events > self.events:
                target = self._next_time(due.events)
                time = min(self._passed(one, target) for one in self._partitions.values())
                if time <= self.events or (time < target and self._is_near(target)):
                    return None
                self.events = time
                return PassedTime("events", time)
            if due.clock > self.clock:
                if self.examples < due.examples:
                    return None
                self.clock = due.clock
                return PassedTime("clock", due.clock)
            self._pending.popleft()
            if due.length:
                return PassedTime("window", due.events, due.length)
        return None

    def to_state(self) -> dict[str, Any]:
        """Return JSON data, without positions."""
        return {
            "partitions": {
                str(number): [one.newest and list(one.newest), [list(step) for step in one.steps]]
                for number, one in self._partitions.items()
            },
            "passed": [self.events, self.clock, self._events, self._clock],
            "pending": [list(one) for one in self._pending],
            "first_example": self._first_example,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set what `to_state` returned."""
        for number, (newest, steps) in state["partitions"].items():
            partition = self._partitions.setdefault(int(number), AlignedPartition())
            partition.newest = None if newest is None else PartitionWatermark(*newest)
            partition.steps = deque(WatermarkStep(*step) for step in steps)
        self.events, self.clock, self._events, self._clock = state["passed"]
        self._pending = deque(PendingTime(*one) for one in state["pending"])
        self._first_example = state["first_example"]

    def _pass_times(self) -> None:
        """Note a time that all partitions have passed with the newest record."""
        newest = [one.newest for one in self._partitions.values() if one.newest is not None]
        if len(newest) < len(self._partitions):
            return
        if self._first_example is None:
            self._first_example = min(one.examples for one in newest)
        least = min((one.events for one in holding(newest)), default=NEVER)
        events = max(self._events, floor_time(least, STEP_MS))
        clocks = [one.clock for one in newest if not one.idle or one.clock != NEVER]
        clock = min(floor_time(min(clocks, default=NEVER), STEP_MS), events)
        clock = max(self._clock, clock)
        if (events, clock) != (self._events, self._clock):
            self._events, self._clock = events, clock
            self._pending.append(PendingTime(events, clock, self._known_examples()))

    def _known_examples(self) -> int:
        newest = [one.newest for one in self._partitions.values() if one.newest is not None]
        return max((one.examples for one in newest), default=0)

    def _next_time(self, due: int) -> int:
        """Return the next time to pass on the way to a noted one: each midnight before it, too.

        No partition is read further than a day ahead, so a longer way needs times in between. They
        are always the same ones: what is reported with a time depends on which times are passed.
        """
        if not self._is_near(due):
            return due
        return min(due, floor_time(self.events, DAY_MS) + DAY_MS)

    def _is_near(self, time: int) -> bool:
        """Return False for the first time, and for a jump that only the error of a clock explains.

        Then each partition's own times are passed on the way.
        """
        return self.events != NEVER and time - self.events <= MAX_STEP_MS

    @staticmethod
    def _passed(partition: AlignedPartition, time: int) -> int:
        """Return the time that a partition has passed at its position, at most the given one."""
        assert partition.newest is not None
        position, steps = partition.position, partition.steps
        # Where it passes the time; an idle partition that never does is read to its end.
        cut = next((step.offset for step in steps if step.time >= time), partition.newest.scored)
        if position >= cut:
            return time
        reached = takewhile(lambda step: step.offset <= position, steps)
        return max((step.time for step in reached), default=NEVER)
