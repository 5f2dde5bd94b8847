"""Alignment of the monitor's logs: how far each may be read, and the times that have passed."""

import random

import pytest

from stream_app.core.monitoring.log_alignment import (
    DAY_MS,
    MAX_PENDING,
    STEP_MS,
    LogAlignment,
    PassedTime,
)
from stream_app.core.monitoring.partition_watermark import PartitionWatermark, decode_watermark
from stream_app.core.reading.event_time import NEVER

T = 100 * DAY_MS


def at(
    partition: int, steps: int | None, scored: int, examples: int = 0, *, idle: bool = False
) -> PartitionWatermark:
    time = NEVER if steps is None else T + steps * STEP_MS + 17
    return PartitionWatermark(partition, time, time, scored, examples, idle)


def aligned(*watermarks: PartitionWatermark, partitions: int = 2) -> LogAlignment:
    alignment = LogAlignment(range(partitions))
    for one in watermarks:
        alignment.add(one)
    return alignment


def passed(alignment: LogAlignment) -> list[tuple[str, int]]:
    """Return what passes now, in steps."""
    found: list[tuple[str, int]] = []
    while (one := alignment.pass_next()) is not None:
        found.append((one.kind, (one.time - T) // STEP_MS))
    return found


def test_nothing_is_read_before_all_partitions_are_known() -> None:
    alignment = aligned(at(0, None, 0), at(0, 3, 20, 9))
    assert alignment.scored_limit(1) == 0
    assert alignment.examples_limit() == 0
    assert passed(alignment) == []


def test_a_record_may_be_read_once_a_later_watermark_is_known() -> None:
    alignment = aligned(at(0, None, 0), at(1, None, 0))
    assert alignment.scored_limit(0) == 0
    alignment.add(at(0, None, 20, 5))
    assert (alignment.scored_limit(0), alignment.scored_limit(1)) == (20, 0)
    assert alignment.examples_limit() == 5


def test_a_time_passes_when_every_partition_is_read_up_to_where_it_passed() -> None:
    alignment = aligned(at(0, 1, 10), at(1, 1, 30), at(0, 2, 20), at(1, 2, 40))
    assert passed(alignment) == []
    alignment.move(0, 20)
    alignment.move(1, 29)
    assert passed(alignment) == []
    alignment.move(1, 30)
    assert passed(alignment) == [("events", 1), ("clock", 1)]
    alignment.move(1, 40)
    assert passed(alignment) == [("events", 2), ("clock", 2)]


def test_the_watermark_at_an_offset_is_that_of_its_own_partition() -> None:
    alignment = aligned(at(0, None, 10), at(1, 9, 0), at(0, 1, 20), at(0, 1, 30), at(0, 3, 40))
    found = [alignment.reached(0, offset) for offset in (9, 10, 19, 20, 35, 39)]
    assert found == [None, NEVER, NEVER, T + STEP_MS, T + STEP_MS, T + STEP_MS]


def test_examples_are_read_to_the_named_offset_before_their_clock_passes() -> None:
    alignment = aligned(at(0, 1, 0, 4), at(1, 1, 0, 8), at(0, 1, 0, 12), at(1, 1, 0, 20))
    # Those of the first known watermarks and before are left out.
    assert [alignment.counts_example(offset) for offset in (3, 4)] == [False, True]
    assert alignment.examples_limit() == 8
    assert passed(alignment) == [("events", 1)]
    alignment.examples = 8
    assert passed(alignment) == [("clock", 1)]
    assert alignment.examples_limit() == 20


def test_an_idle_partition_holds_nothing_back() -> None:
    alignment = aligned(at(0, 1, 10), at(1, None, 5, idle=True))
    alignment.move(0, 10)
    assert passed(alignment) == []
    alignment.move(1, 5)
    assert passed(alignment) == [("events", 1), ("clock", 1)]


def test_what_an_idle_partition_scores_afterwards_is_behind_the_others() -> None:
    alignment = aligned(at(0, 1, 10), at(1, 0, 5, idle=True), at(0, 4, 20), at(1, 2, 9))
    assert [alignment.reached(1, offset) for offset in (4, 5, 8)] == [
        None,
        T + 4 * STEP_MS,
        T + 4 * STEP_MS,
    ]


def test_only_what_comes_after_the_idle_time_is_behind_the_others() -> None:
    alignment = aligned(
        at(0, 1, 10), at(1, 0, 5), at(1, 0, 7, idle=True), at(0, 4, 20), at(1, 2, 9)
    )
    found = [alignment.reached(1, offset) for offset in (5, 6, 7)]
    assert found == [T, T, T + 4 * STEP_MS]


def test_all_partitions_idle_pass_what_all_have_reached() -> None:
    alignment = aligned(at(0, 3, 0, idle=True), at(1, 1, 0, idle=True), partitions=3)
    alignment.add(at(2, None, 0, idle=True))
    assert passed(alignment) == [("events", 1), ("clock", 1)]


def test_a_partition_that_is_far_ahead_waits() -> None:
    day = DAY_MS // STEP_MS
    alignment = aligned(at(0, 1, 10), at(1, 1, 0), at(0, day, 20), at(0, 2 * day, 30))
    assert alignment.scored_limit(0) == 10
    alignment.move(0, 10)
    assert passed(alignment)[0] == ("events", 1)
    assert alignment.scored_limit(0) == 30
    alignment.add(at(0, 2 * day + 1, 40))
    assert alignment.scored_limit(0) == 30
    alignment.add(at(1, day, 0))
    alignment.move(0, 30)
    assert passed(alignment)[-1] == ("clock", day)
    assert alignment.scored_limit(0) == 40


def test_a_jump_of_all_partitions_passes_at_once() -> None:
    alignment = aligned(at(0, 1, 10), at(1, 1, 10))
    for number in range(2):
        alignment.move(number, 10)
    assert passed(alignment)[0] == ("events", 1)
    alignment.add(at(0, 100_000, 20))
    alignment.add(at(1, 100_000, 20))
    for number in range(2):
        assert alignment.scored_limit(number) == 20
        alignment.move(number, 20)
    assert passed(alignment) == [("events", 100_000), ("clock", 100_000)]


def random_log(chance: random.Random, partitions: int) -> list[PartitionWatermark]:
    """Return watermarks whose times jump by up to three days; examples grow in the log's order."""
    steps, scored, examples = [0] * partitions, [0] * partitions, 0
    log = [at(number, 0, 0) for number in range(partitions)]
    for _ in range(60):
        number = chance.randrange(partitions)
        steps[number] += chance.choice((0, 1, 3, 40, 96, 288))
        scored[number] += chance.randrange(20)
        examples += chance.randrange(5)
        log.append(at(number, steps[number], scored[number], examples))
    return log


def passed_times(
    log: list[PartitionWatermark], chance: random.Random, partitions: int
) -> list[PassedTime]:
    """Return the times that pass while the logs are read in a random interleaving."""
    alignment, found, unread = LogAlignment(range(partitions)), list[PassedTime](), list(log)
    waits = 0
    while waits < 200:
        before = (len(unread), len(found), alignment.examples)
        if unread and chance.random() < 0.5:
            for _ in range(chance.choice((1, 1, 40))):
                if unread:
                    alignment.add(unread.pop(0))
        number = chance.randrange(partitions)
        alignment.move(number, chance.randint(0, alignment.scored_limit(number)))
        if chance.random() < 0.5:
            alignment.move(number, alignment.scored_limit(number))
        alignment.examples = max(alignment.examples, alignment.examples_limit())
        while (one := alignment.pass_next()) is not None:
            found.append(one)
            if chance.random() < 0.5:
                break
        waits = 0 if before != (len(unread), len(found), alignment.examples) else waits + 1
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_same_times_pass_in_every_interleaving(seed: int) -> None:
    log = random_log(random.Random(seed), partitions=3)
    first = passed_times(log, random.Random(1), partitions=3)
    assert len({one.time for one in first}) > 10
    for other in range(2, 7):
        assert passed_times(log, random.Random(other), partitions=3) == first


def test_watermarks_of_partitions_that_do_not_exist_are_ignored() -> None:
    alignment = aligned(at(0, 1, 0), at(1, 1, 0), at(7, 0, 0))
    assert alignment.pass_next() == PassedTime("events", T + STEP_MS)


def test_a_command_takes_effect_after_the_times_before_it() -> None:
    alignment = aligned(at(0, 1, 10), at(1, 1, 0))
    alignment.change_window(3_600_000)
    alignment.add(at(0, 2, 10))
    alignment.add(at(1, 2, 0))
    assert passed(alignment) == []
    alignment.move(0, 10)
    assert passed(alignment) == [
        ("events", 1),
        ("clock", 1),
        ("window", 1),
        ("events", 2),
        ("clock", 2),
    ]


def test_few_times_wait_for_records() -> None:
    alignment, full = aligned(at(0, 0, 0), at(1, 0, 0)), []
    for number in range(1, MAX_PENDING + 1):
        alignment.add(at(0, number, number))
        alignment.add(at(1, number, 0, number))
        full.append(alignment.is_full)
    # The first time waits since before the loop.
    assert full.index(True) == MAX_PENDING - 2
    alignment.move(0, 1)
    alignment.examples = 1
    assert passed(alignment) == [("events", 0), ("clock", 0), ("events", 1), ("clock", 1)]
    assert [alignment.is_full] == [False]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        b"{}",
        b'{"partition":-1,"events":1,"clock":1,"scored":1,"examples":1,"idle":false}',
        b'{"partition":"0","events":1,"clock":1,"scored":1,"examples":1,"idle":false}',
        b'{"partition":0,"events":1.5,"clock":1,"scored":1,"examples":1,"idle":false}',
        b'{"partition":0,"events":"1","clock":1,"scored":1,"examples":1,"idle":false}',
        # Every day up to a time passes, so it must be one.
        b'{"partition":0,"events":1000000000000000,"clock":1,"scored":1,"examples":1,"idle":false}',
        b'{"partition":0,"events":1,"clock":1,"scored":1,"examples":1,"idle":0}',
        b'{"partition":0,"events":1,"clock":1,"scored":1,"examples":true,"idle":false}',
    ],
)
def test_other_records_are_no_watermarks(value: bytes | None) -> None:
    assert decode_watermark(value) is None
