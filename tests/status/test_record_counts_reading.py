"""Shares of dead letters in the last minutes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import orjson
import pytest

from stream_app.core.scoring.event_clock import EventClock
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.state_changelog import COUNTS_KEY
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.status.record_counts_reading import (
    MAX_OFFSETS,
    SHARE_WINDOW_MS,
    OutcomeHistory,
    PartitionCounts,
    RecentOutcomes,
    earlier_counts,
)

STATE = ("p.score.state", 0)


class CountsRecord(NamedTuple):
    """Record of the state topic: at each offset the counts, or an entry."""

    offset: int
    at: int
    scored: int | None

    def key(self) -> bytes:
        return b"e1" if self.scored is None else COUNTS_KEY

    def value(self) -> bytes:
        fields: dict[str, Any] = {"clock": EventClock(0).as_dict()}
        scored = counts(self.scored or 0, 0).as_dict()
        return orjson.dumps({**fields, "record_counts": scored, "positions": {}})

    def timestamp(self) -> tuple[int, int]:
        return 1, self.at

    def topic(self) -> str:
        return STATE[0]

    def partition(self) -> int:
        return STATE[1]


class StateLog:
    """Reader of a state topic in memory."""

    def __init__(self, records: list[CountsRecord]) -> None:
        self.log = records

    def offsets_since(self, ends: Mapping[tuple[str, int], int], since: int) -> Any:
        later = (one.offset for one in self.log if one.at >= since)
        return {STATE: next(later, ends[STATE])}

    def records(self, bounds: OffsetBounds) -> Iterator[CountsRecord]:
        start, end = bounds[STATE]
        return (one for one in self.log if start <= one.offset < end)


@pytest.mark.parametrize(
    ("log", "since", "scored"),
    [
        # The last counts before the time.
        ([(0, 10, 5), (1, 20, 7), (2, 30, None), (3, 40, 9)], 25, 7),
        # The whole log is later.
        ([(0, 10, 5), (1, 20, 7)], 5, 0),
        # Nothing is later.
        ([(0, 10, 5), (1, 20, 7)], 25, 7),
        # Compaction has deleted the earlier ones.
        ([(900, 30, None), (901, 40, 9), (902, 50, 12)], 25, 9),
        # Only the newest offsets are searched.
        ([(0, 10, 5), (1, 30, 6), (MAX_OFFSETS, 40, 9), (2 * MAX_OFFSETS, 50, 12)], 25, 12),
    ],
)
def test_earlier_counts_are_those_before_a_time_or_the_oldest_after_it(
    log: list[tuple[int, int, int | None]], since: int, scored: int
) -> None:
    records = [CountsRecord(*one) for one in log]
    reader = cast("PartitionReader", StateLog(records))
    newest = cast("PartitionCounts", Newest(counts(records[-1].scored or 0, 0)))
    bounds = {STATE: (0, records[-1].offset + 1)}
    assert earlier_counts(reader, bounds, {0: newest}, since).scored == scored


class Newest(NamedTuple):
    """Newest counts of the partition."""

    counts: RecordCounts


def counts(scored: int, dead: int, joined: int = 0, label_dead: int = 0) -> RecordCounts:
    return RecordCounts(
        scored=scored,
        dead=Counter({"invalid-json": dead}),
        joined=joined,
        label_dead=Counter({"unknown-event": label_dead}),
    )


@pytest.mark.parametrize(
    ("outcomes", "reported"),
    [
        (RecentOutcomes(1000, 180, 0, 0), ["180 of 1,000 recent events became dead letters"]),
        (RecentOutcomes(100, 5, 100, 6), ["6 of 100 recent labels became dead letters"]),
        (RecentOutcomes(1000, 50, 1000, 50), []),
        (RecentOutcomes(2, 2, 0, 0), []),
        (RecentOutcomes(0, 0, 0, 0), []),
    ],
)
def test_a_larger_share_than_declared_is_a_problem(
    outcomes: RecentOutcomes, reported: list[str]
) -> None:
    found = list(outcomes.problems(0.05))
    assert [one.split(" (")[0] for one in found] == reported


def test_a_declared_share_of_one_accepts_everything() -> None:
    assert list(RecentOutcomes(10, 10, 10, 10).problems(1.0)) == []


def test_only_records_of_the_last_minutes_count() -> None:
    history = OutcomeHistory()
    history.begin(counts(scored=1000, dead=500), 0)
    assert history.add(counts(1100, 500), 1000) == RecentOutcomes(100, 0, 0, 0)
    assert history.add(counts(1110, 540, 5, 1), 2000) == RecentOutcomes(150, 40, 6, 1)
    later = history.add(counts(1120, 540, 5, 1), SHARE_WINDOW_MS + 3000)
    assert later == RecentOutcomes(10, 0, 0, 0)
