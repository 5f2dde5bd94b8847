"""Partitions of sources that are ahead wait for those behind, and never for good.

The interleavings are those of `docs/sources.md`, one test for each.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import orjson
import pytest

from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.scorer import Scorer
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Output, Record
from stream_app.sources import Source
from stream_app.worker.processor import HELD, WaitReason
from stream_app.worker.roles.ingest_processor import (
    IngestLimits,
    IngestProcessor,
)
from stream_app.worker.roles.ingest_state import SourceState
from stream_app.worker.roles.progress_follower import ProgressFollower
from stream_app.worker.roles.source_alignment import (
    OWN_RECORDS_AHEAD,
    PATIENCE_SECONDS,
    RECORDS_AHEAD,
    PartitionProgress,
    SourceAlignment,
    alignment_bound,
)
from tests.core.scoring.label_streams import START, YEAR, LabelledPartition
from tests.small_pipeline import HOUR, NOW, event, label, record, small_pipeline
from tests.worker.roles.test_ingest_processor import quiet_services

BOUND = 10 * HOUR
A, B, C = (InputPartition("shop.orders", number) for number in range(3))


class Clock:
    """Monotonic clock in seconds."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Group:
    """Alignment of a worker, and a clock.

    Attributes:
        behind: watermark of partitions that are far behind.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.alignment = SourceAlignment(BOUND, self.clock)
        self.behind = NOW - YEAR

    def say(self, source: InputPartition, watermark: int, *, has_more: bool = True) -> None:
        self.alignment.report(source, PartitionProgress(watermark, has_more), NOW)

    def hear(self, source: InputPartition, watermark: int, *, has_more: bool = True) -> None:
        """Take what the follower found of another worker's partition."""
        self.alignment.learn({source: PartitionProgress(watermark, has_more)})

    def may_read(self, watermark: int, ahead: int = OWN_RECORDS_AHEAD) -> bool:
        self.clock.seconds += 0.02
        return self.alignment.may_read(watermark, ahead, NOW)

    def seconds_of_waiting(self, advance: int = 0, *, own: bool = True) -> float:
        """Return for how long a partition far ahead waits for B, which advances so fast."""
        started, ahead = self.clock.seconds, self.behind + YEAR // 2
        watermark = self.behind
        while not self.may_read(ahead, 10 * RECORDS_AHEAD):
            self.clock.seconds += 0.5
            watermark += advance // 2
            self.say(A, ahead)
            (self.say if own else self.hear)(B, watermark)
            if self.clock.seconds - started > 10 * PATIENCE_SECONDS:
                break
        return self.clock.seconds - started


@pytest.fixture
def group() -> Group:
    return Group()


def test_a_partition_waits_beyond_the_bound_and_no_longer(group: Group) -> None:
    group.say(A, group.behind + BOUND + 1)
    group.say(B, group.behind)
    assert not group.may_read(group.behind + BOUND + 1)
    assert group.may_read(group.behind + BOUND + 1, OWN_RECORDS_AHEAD - 1)
    assert group.may_read(group.behind + BOUND)
    assert group.may_read(group.behind)
    group.say(B, group.behind + 1)
    assert group.may_read(group.behind + BOUND + 1)


def test_a_partition_continues_as_soon_as_the_last_one_has_moved(group: Group) -> None:
    """Without that, all would wait until the limits are computed again."""
    ahead, newest = group.behind + BOUND + 1, group.behind + 3 * BOUND
    group.say(A, ahead)
    group.say(B, group.behind)
    group.hear(C, newest)
    may_read = group.alignment.may_read
    assert not may_read(ahead, OWN_RECORDS_AHEAD, NOW)
    group.say(A, ahead)
    assert not may_read(ahead, OWN_RECORDS_AHEAD, NOW)
    group.say(B, group.behind + 1)
    assert may_read(ahead, OWN_RECORDS_AHEAD, NOW)
    assert not may_read(newest, RECORDS_AHEAD, NOW)
    group.say(B, group.behind + 1, has_more=False)
    group.say(A, newest - BOUND)
    assert may_read(newest, RECORDS_AHEAD, NOW)


def test_the_last_one_never_waits_whatever_else_is_known(group: Group) -> None:
    for source, watermark in zip((A, B, C), (NEVER, NOW - YEAR, NOW), strict=True):
        group.say(source, watermark)
        group.hear(InputPartition("other", source.partition), watermark)
    assert group.may_read(NEVER)


def test_a_partition_at_its_end_is_not_awaited(group: Group) -> None:
    group.say(A, group.behind + YEAR // 2)
    group.say(B, group.behind, has_more=False)
    assert group.may_read(group.behind + YEAR // 2)
    group.say(B, group.behind)
    assert not group.may_read(group.behind + YEAR // 2)


def test_a_partition_that_was_not_read_yet_is_awaited(group: Group) -> None:
    group.say(B, NEVER)
    assert not group.may_read(group.behind)
    group.say(B, NEVER, has_more=False)
    assert group.may_read(group.behind)


def test_records_of_the_present_never_wait_for_a_back_fill(group: Group) -> None:
    """A source is added, and its partitions have a year of records."""
    group.say(B, group.behind)
    assert group.may_read(NOW - BOUND)
    assert not group.may_read(NOW - BOUND - 1)
    assert group.alignment.is_catching_up
    group.say(B, NOW - BOUND)
    assert not group.alignment.is_catching_up


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("advance", [0, 1, 900])
def test_a_partition_that_does_not_advance_is_soon_not_awaited(
    group: Group, advance: int, own: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its worker is down, it has no owner, cannot be read, or its times are wrong."""
    (group.say if own else group.hear)(B, group.behind)
    assert PATIENCE_SECONDS <= group.seconds_of_waiting(advance, own=own) < PATIENCE_SECONDS + 2
    assert group.seconds_of_waiting(advance, own=own) < 1


def test_a_partition_is_awaited_as_long_as_it_advances(group: Group) -> None:
    group.say(B, group.behind)
    assert group.seconds_of_waiting(60_000) > 10 * PATIENCE_SECONDS


def test_a_partition_is_awaited_again_once_it_advances(group: Group) -> None:
    """Its worker is started again."""
    group.say(B, group.behind)
    group.seconds_of_waiting()
    group.clock.seconds += PATIENCE_SECONDS
    group.say(B, group.behind + HOUR)
    assert not group.may_read(group.behind + YEAR // 2)


def test_time_that_a_partition_waits_itself_does_not_count_against_it(group: Group) -> None:
    ahead = group.behind + YEAR // 2
    group.say(A, ahead)
    for second in range(300):
        group.clock.seconds += 1
        group.say(A, ahead)
        group.say(B, group.behind + second * HOUR // 10)
        assert not group.may_read(ahead)
    # B passes it.
    group.say(B, ahead + YEAR // 4)
    assert group.may_read(ahead)
    assert not group.may_read(ahead + YEAR // 4)


def test_a_partition_of_another_worker_is_known_late_so_some_records_more_are_read(
    group: Group,
) -> None:
    ahead = group.behind + YEAR // 2
    group.say(A, ahead)
    group.hear(B, group.behind)
    assert group.may_read(ahead, RECORDS_AHEAD - 1)
    assert not group.may_read(ahead, RECORDS_AHEAD)
    assert group.alignment.others_behind() == [B]
    # The partition moves to this worker, whose task knows more than the state says.
    group.say(B, ahead)
    group.hear(B, group.behind)
    assert group.alignment.others_behind() == []
    assert group.may_read(ahead, RECORDS_AHEAD)


def test_after_a_rebalance_the_new_owner_reports_the_progress(group: Group) -> None:
    ahead = group.behind + YEAR // 2
    group.say(A, ahead)
    group.say(B, group.behind)
    group.clock.seconds += 6
    group.say(A, ahead)
    group.hear(B, ahead - 1)
    assert group.may_read(ahead, RECORDS_AHEAD)


def test_two_workers_with_old_news_of_each_other_do_not_both_wait() -> None:
    one, two = Group(), Group()
    one.say(A, one.behind + 2 * BOUND)
    two.say(B, two.behind + 3 * BOUND)
    one.hear(B, one.behind)
    two.hear(A, two.behind)
    assert not one.may_read(one.behind + 2 * BOUND, RECORDS_AHEAD)
    assert not two.may_read(two.behind + 3 * BOUND, RECORDS_AHEAD)
    # What both have committed arrives.
    one.hear(B, one.behind + 3 * BOUND)
    two.hear(A, two.behind + 2 * BOUND)
    assert one.may_read(one.behind + 2 * BOUND, RECORDS_AHEAD)


# --- Progress of other workers --------------------------------------------------------------------


class StateTopic:
    """`<p>.ingest.state`, and the ends of the partitions of sources."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.high: dict[InputPartition, int] = {}
        self.asked: list[InputPartition] = []

    def write(self, source: InputPartition, next_offset: int, watermark: int) -> None:
        state = SourceState(source, 12)
        state.next = next_offset
        state.clock.watermark = watermark
        output = state.output()
        offset = len(self.records)
        self.records.append(Record("state", 0, offset, 0, output.key, output.value))

    def ends(self, source: InputPartition) -> tuple[int, int]:
        if source.topic == "state":
            return 0, len(self.records)
        self.asked.append(source)
        return 0, self.high[source]

    def read_range(self, topic: str, partition: int, start: int, end: int) -> Iterable[Record]:
        return self.records[start:end]


def test_the_follower_tells_what_others_have_committed(group: Group) -> None:
    topic, ahead = StateTopic(), group.behind + YEAR // 2
    follower = ProgressFollower(topic, "state", ["shop.orders"], group.alignment)
    group.say(A, ahead)
    topic.write(B, 50, group.behind)
    topic.write(InputPartition("removed", 0), 1, NEVER)
    topic.high[B] = 50
    follower.follow()
    assert topic.asked == [B]
    assert group.may_read(ahead, RECORDS_AHEAD)
    topic.high[B] = 90
    follower.follow()
    assert not group.may_read(ahead, RECORDS_AHEAD)
    topic.write(B, 60, ahead)
    follower.follow()
    assert group.may_read(ahead, RECORDS_AHEAD)


def test_an_unreadable_state_stops_nothing(group: Group) -> None:
    topic = StateTopic()
    topic.records.append(Record("state", 0, 0, 0, b"shop.orders/1", b"{"))
    follower = ProgressFollower(topic, "state", ["shop.orders"], group.alignment)
    group.say(A, group.behind)
    follower.follow()
    assert group.may_read(group.behind, RECORDS_AHEAD)


# --- A back-fill ----------------------------------------------------------------------------------

PACE = YEAR // 100_000
TURN = 3_000
CHUNK = 100
SOURCES = {"a": 6, "b": 4, "c": 3}


def merged_pipeline() -> Pipeline:
    """Return a pipeline with two sources of events and one of labels."""
    a, b, c = (Source(topic=name, start="earliest") for name in SOURCES)
    declared = LabelledPartition().declared
    object.__setattr__(declared, "sources", (c,))
    return small_pipeline(sources=(a, b), label=declared)


class BackFill:
    """Ingest of partitions that are read in turns, and a scorer that reads what it has written.

    Args:
        bound: bound of the alignment in milliseconds.

    Attributes:
        pending, waiting: largest numbers of predictions and of labels that waited.
    """

    def __init__(self, bound: int) -> None:
        self.clock = Clock()
        pipeline = merged_pipeline()
        services = quiet_services(
            pipeline, self, IngestLimits(10_000, False), SourceAlignment(bound, self.clock)
        )
        self.logs = {
            InputPartition(topic, number): list[Record]()
            for topic, parts in SOURCES.items()
            for number in range(parts)
        }
        self.processors = {one: IngestProcessor(pipeline, one, services) for one in self.logs}
        self.scored = LabelledPartition()
        self.scored.scorer = Scorer(pipeline, self.scored.config, self.scored.state, lambda: 0.0)
        self.pending = self.waiting = 0
        self.offset = 0

    def read_stable(self, topic: str, partition: int) -> list[Any]:
        return []

    def ends(self, source: InputPartition) -> tuple[int, int]:
        return 0, len(self.logs[source])

    def partition_count(self, topic: str) -> int:
        return SOURCES.get(topic, 1)

    def fill(self, topics: str, rows: Iterable[dict[str, Any]]) -> None:
        """Distribute records to the partitions of topics."""
        parts = [one for one in self.logs if one.topic in topics]
        for number, row in enumerate(rows):
            source = parts[number % len(parts)]
            offset = len(self.logs[source])
            sent = record(row, offset, topic=source.topic, key=b"theirs")
            self.logs[source].append(sent._replace(partition=source.partition))

    def run(self) -> None:
        for source, processor in self.processors.items():
            processor.restore({source: -1})
        positions = dict.fromkeys(self.logs, 0)
        while any(positions[one] < len(log) for one, log in self.logs.items()):
            before = sum(positions.values())
            for source in self.logs:
                self._turn(source, positions)
            self._look(positions)
            self.clock.seconds += 0.025
            assert sum(positions.values()) > before, "nothing may read"

    def _turn(self, source: InputPartition, positions: dict[InputPartition, int]) -> None:
        """Read a batch of a partition, as far as it may be read."""
        processor, log = self.processors[source], self.logs[source]
        start = positions[source]
        for at in range(start, min(start + TURN, len(log)), CHUNK):
            chunk = log[at : at + CHUNK]
            self.clock.seconds += 0.001
            if not processor.ready(chunk, NOW):
                assert processor.waiting_for is WaitReason.ALIGNMENT
                break
            self._score(processor.process(source, chunk, NOW))
            positions[source] = at + len(chunk)
        self._score(processor.before_commit({}, NOW))

    def _look(self, positions: dict[InputPartition, int]) -> None:
        for source, processor in self.processors.items():
            processor.look(NOW, [source] if positions[source] == len(self.logs[source]) else ())

    def _score(self, outputs: list[Output]) -> None:
        for kind, group in groupby(outputs, key=lambda one: one.topic):
            if kind in ("raw", "labels"):
                self.scored.read([(kind, list(self._records(kind, group)))])
                counts = self.scored.counts
                self.pending = max(self.pending, counts.pending)
                self.waiting = max(self.waiting, counts.waiting)

    def _records(self, kind: str, outputs: Iterable[Output]) -> Iterator[Record]:
        for _, _, key, value, headers in outputs:
            self.offset += 1
            yield Record(f"payments.{kind}", 0, self.offset, NOW, key, value, headers)


@pytest.mark.parametrize(
    ("order", "count"),
    [
        pytest.param("events first", 100_000, marks=pytest.mark.faults),
        ("events first", 20_000),
        ("labels first", 20_000),
    ],
)
def test_a_back_fill_needs_little_state(order: str, count: int) -> None:
    """Events and labels from 6 + 4 and 3 partitions, which are read in turns of 3,000 records."""
    known = [(START + n * PACE + HOUR * (n % 20), n) for n in range(count)]
    found = {}
    for bound in (alignment_bound(30 * HOUR), 100 * YEAR):
        backfill = found[bound] = BackFill(bound)
        if order == "labels first":
            backfill.processors = dict(reversed(backfill.processors.items()))
            backfill.logs = dict(reversed(backfill.logs.items()))
        backfill.fill("ab", (event(n, START + n * PACE) for n in range(count)))
        backfill.fill("c", (label(n, at) for at, n in sorted(known)))
        backfill.run()
        counts = backfill.scored.counts
        assert (counts.scored, counts.joined) == (count, count)
        assert (counts.dead.total(), counts.label_dead.total(), counts.label_expired) == (0, 0, 0)
    aligned, free = found.values()
    assert aligned.scored.examples.keys() == free.scored.examples.keys()
    # An event is kept for 30 hours, 343 of them; 13 partitions may be 500 records ahead; and the
    # watermark is passed on now and then.
    assert aligned.pending + aligned.waiting < 10_000
    assert free.pending + free.waiting > count // 2


def test_all_partitions_are_known_before_one_of_them_is_read() -> None:
    backfill = BackFill(HOUR)
    first, second = list(backfill.logs)[:2]
    for source in (first, second):
        backfill.processors[source].restore({source: -1})
    chunk = [record(event(n, NOW - YEAR + n * HOUR), n, topic=first.topic) for n in range(100)]
    ahead, total = backfill.processors[first], 0
    while ahead.ready(chunk, NOW) and total < 10_000:
        ahead.process(first, chunk, NOW)
        total += len(chunk)
    assert OWN_RECORDS_AHEAD <= total < OWN_RECORDS_AHEAD + 2 * CHUNK


def test_a_held_partition_is_not_awaited() -> None:
    backfill = BackFill(HOUR)
    source = next(iter(backfill.logs))
    processor = backfill.processors[source]
    assert processor.restore({source: 50}) == {source: HELD}
    processor.look(NOW, ())
    second = InputPartition(source.topic, 1)
    backfill.fill("a", [event(0, NOW - YEAR)])
    assert orjson.loads(backfill.logs[source][0].value or b"")["at"] == NOW - YEAR
    other = backfill.processors[second]
    other.restore({second: -1})
    chunk = [
        record(event(n, NOW - YEAR), n, topic=source.topic)._replace(partition=1) for n in range(20)
    ]
    other.process(second, chunk, NOW)
    assert other.ready(chunk, NOW) == 20
