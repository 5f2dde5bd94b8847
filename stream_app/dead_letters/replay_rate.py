"""How far the scorers are behind what a replay has sent."""

from collections.abc import Mapping
from time import monotonic, sleep

from stream_app.dead_letters.dead_letter_admin import DeadLetterAdmin
from stream_app.dead_letters.replay_outcomes import OutcomeWatch
from stream_app.errors import ReplayError
from stream_app.records import InputPartition

STALL_SECONDS = 30.0
_FEW = 100  # offsets of a partition that may all be markers of transactions
_LOOK = 0.05  # seconds


class ReplayRate:
    """Watches the topics (kinds) that a replay sends to, and what becomes of what it has sent."""

    def __init__(self, desk: DeadLetterAdmin, watch: OutcomeWatch, topics: set[str]) -> None:
        self._desk = desk
        self._watch = watch
        self._inputs = [
            InputPartition(desk.topic(topic), p)
            for topic in sorted(topics)
            for p in range(desk.partitions)
        ]

    def look(self) -> None:
        """Take in the outcomes that have come."""
        self._watch.look()

    def backlog(self, *, exact: bool = False) -> int:
        """Records that wait for a scorer now; unless `exact`, a few markers of transactions may count as well."""
        return self._left(self._ends(), exact)

    def await_backlog(self, most: int, *, exact: bool = False) -> None:
        """Wait until no more is left of what is there now; `ReplayError` when nothing moves for 30 s.

        What others send meanwhile does not count.
        """
        ends, before, moved = self._ends(), -1, monotonic()
        while (left := self._left(ends, exact)) > most:
            if left != before:
                before, moved = left, monotonic()
            elif monotonic() - moved > STALL_SECONDS:
                raise ReplayError(
                    f"No scorer has read any of {left:,} records that wait for one in {STALL_SECONDS:.0f} s",
                    "Start scorers (`stream-app worker PIPELINE --role score`), and repeat the command to go on",
                )
            self._watch.look()
            sleep(_LOOK)
        self._watch.look()

    def _ends(self) -> dict[InputPartition, tuple[int, int]]:
        return {source: self._desk.reader.ends(source) for source in self._inputs}

    def _left(self, ends: Mapping[InputPartition, tuple[int, int]], exact: bool) -> int:
        committed = self._desk.reader.committed(self._inputs)
        behind = {
            (source.topic, source.partition): (start, end)
            for source, (low, end) in ends.items()
            if (start := max(low, committed[source])) < end
        }
        left = sum(end - start for start, end in behind.values())
        return self._desk.count(behind) if exact and 0 < left <= _FEW * len(behind) else left
