"""Clock of labels: any order of reading gives the same examples; a wrong time harms only itself."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.reading.completeness import Completeness
from stream_app.core.reading.event_time import FIRST_MS, LAST_MS, NEVER
from stream_app.core.reading.robust_watermark import RobustWatermark
from stream_app.core.scoring.event_clock import EVENTS_NEEDED, LABELS_NEEDED, EventClock
from stream_app.records import Record
from tests.core.scoring.label_streams import (
    COUNT,
    DAY,
    START,
    YEAR,
    Chunk,
    LabelledPartition,
    chunks,
    completeness,
    event_at,
    events,
    in_turns,
    labels,
    one_after_another,
)
from tests.small_pipeline import HOUR, NOW, event, label, record

Order = Callable[[list[Record], list[Record]], Iterable[Chunk]]

ORDERS: dict[str, Order] = {
    "events first": lambda raw, known: one_after_another(chunks(raw), chunks(known)),
    "labels first": lambda raw, known: one_after_another(chunks(known), chunks(raw)),
    "interleaved": lambda raw, known: in_turns(chunks(raw), chunks(known)),
    "labels late": lambda raw, known: in_turns(chunks(raw, 500), chunks(known, 50)),
}
# Event that is stamped wrongly, in the middle of the year.
MIDDLE = COUNT // 2


def all_joined(partition: LabelledPartition, wrong: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    """Check that every event is an example, but perhaps those with a wrong time."""
    expected = {f"e{number}" for number in range(COUNT) if number not in wrong}
    assert expected - partition.examples.keys() == set()
    counts = partition.counts
    assert (counts.dead.total(), counts.duplicates) == (0, 0)
    assert counts.label_dead.total() + counts.label_expired <= len(wrong)


@pytest.mark.parametrize("restart_every", [None, 7])
@pytest.mark.parametrize("order", ORDERS)
def test_a_year_in_any_order_gives_all_examples(order: str, restart_every: int | None) -> None:
    partition = LabelledPartition(restart_every)
    partition.read(ORDERS[order](events(), labels()))
    all_joined(partition)
    # All that the clock has passed is closed, so nothing but the end of the stream is left.
    assert len(partition.state.entries) < 60


def test_labels_that_are_momentarily_at_their_end_expire_nothing() -> None:
    partition, known = LabelledPartition(), list(chunks(labels(), 500))
    for (kind, sent), some in zip(chunks(events(), 500), known, strict=True):
        partition.read([(kind, sent)]).wait(1, "events", "labels").read([some])
        partition.wait(1, "labels")
    all_joined(partition)


@pytest.mark.parametrize("at", [NOW, NOW + 23 * HOUR, FIRST_MS, START - 20 * YEAR])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("wrong", ["event", "label"])
def test_one_wrong_time_harms_only_itself(order: str, at: int, wrong: str) -> None:
    raw = events(times={MIDDLE: at} if wrong == "event" else None)
    known = labels(times={MIDDLE: at} if wrong == "label" else None)
    partition = LabelledPartition(11).read(ORDERS[order](raw, known))
    expected = {f"e{number}" for number in range(COUNT) if number != MIDDLE}
    assert expected - partition.examples.keys() == set()
    counts = partition.counts
    assert counts.dead.total() + counts.label_dead.total() + counts.label_expired <= 2


@pytest.mark.parametrize("order", ORDERS)
def test_a_tenth_of_the_events_stamped_now_harm_only_themselves(order: str) -> None:
    wrong = set(Random(5).sample(range(COUNT), COUNT // 10))
    partition = LabelledPartition(9)
    partition.read(ORDERS[order](events(times=dict.fromkeys(wrong, NOW)), labels()))
    all_joined(partition, wrong)


@pytest.mark.parametrize("limit", [500, 2000])
@pytest.mark.parametrize("order", ORDERS)
def test_a_full_state_loses_only_what_is_evicted(order: str, limit: int) -> None:
    partition = LabelledPartition(13, limit).read(ORDERS[order](events(), labels()))
    counts = partition.counts
    assert (counts.scored, counts.dead.total()) == (COUNT, 0)
    assert counts.expired >= counts.evicted["open predictions"]
    assert len(partition.examples) == counts.joined
    unjoined = COUNT - counts.joined
    assert unjoined <= counts.evicted["open predictions"] + counts.evicted["waiting labels"]
    assert ("state-full" in partition.state.alarms.open) == bool(+counts.evicted)
    if order == "interleaved":
        assert counts.joined == COUNT


def test_idle_labels_hold_nothing_back_after_a_time_that_survives_restarts() -> None:
    partition = LabelledPartition().read(chunks(events()))
    for _ in range(23):
        partition.wait(1, "labels")
        partition.restart()
    assert partition.counts.expired == 0
    partition.wait(1.1, "labels")
    assert partition.counts.expired > COUNT - 60
    assert partition.state.clock.mover == "events"


def test_a_record_ends_the_time_at_the_end_and_time_apart_does_not_count() -> None:
    partition = LabelledPartition().read(chunks(events()))
    partition.wait(23, "labels").read(chunks(labels()[:1])).wait(23, "labels")
    partition.wait(100)
    assert partition.counts.expired == 0
    # A task that does not look for hours, as in an outage, counts one minute.
    partition.wait(100, "labels", step=20 * HOUR)
    assert partition.counts.expired == 0


def test_the_clock_runs_on_when_both_inputs_are_idle() -> None:
    partition = LabelledPartition()
    partition.read([*chunks(events()), *chunks(labels()[:100])])
    partition.wait(24.5, "events", "labels")
    newest = partition.state.clock.events.watermark
    assert newest + DAY < partition.state.clock.time <= newest + 25 * HOUR
    pending = partition.counts.pending
    assert pending
    partition.wait(40, "events", "labels")
    assert partition.counts.pending == 0


def test_a_running_clock_does_not_pass_the_wall_clock() -> None:
    clock = EventClock(HOUR)
    clock.events.promise(NOW)
    clock.events.idle_ms = clock.labels.idle_ms = 9 * HOUR
    assert clock.advance(NOW + 2 * HOUR) == NOW + 2 * HOUR
    assert EventClock(0).advance(NOW) == NEVER


def test_horizon_and_lateness_may_change_without_scoring_an_id_twice() -> None:
    partition = LabelledPartition().read([*chunks(events()), *chunks(labels())])
    oldest = partition.state.oldest_event
    for hours in (1, 24 * 300, 48):
        partition.declared = replace(partition.declared, horizon=timedelta(hours=hours))
        partition.restart()
        partition.read(chunks(events()))
        assert partition.counts.scored == COUNT
        assert partition.state.oldest_event >= oldest


EARLY_AND_LATE = st.integers(FIRST_MS, LAST_MS - YEAR)


@settings(max_examples=30)
@given(EARLY_AND_LATE)
def test_every_year_from_1_to_9999_works(start: int) -> None:
    shift = start - START
    raw = [record(event(n, event_at(n) + shift), n) for n in range(400)]
    known = [
        record(label(n, event_at(n) + shift + HOUR), n, topic="payments.labels") for n in range(400)
    ]
    partition = LabelledPartition(3, absent=False)
    partition.now = LAST_MS
    partition.read(in_turns(chunks(raw, 20), chunks(known[:390], 20)))
    partition.read([("labels", [completeness(Completeness("", LAST_MS))])])
    assert len(partition.examples) == partition.counts.examples >= 390


def runs(times: list[int], needed: int) -> list[int]:
    """Return the watermark after each record, from its definition."""
    found, best = [], NEVER
    for end in range(1, len(times) + 1):
        if end >= needed:
            best = max(best, min(times[end - needed : end]))
        found.append(best)
    return found


@given(
    st.lists(st.integers(0, 40), max_size=80),
    st.integers(2, 6),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_a_watermark_depends_on_its_records_alone(
    times: list[int], needed: int, sizes: list[int]
) -> None:
    expected, watermark, start = runs(times, needed), RobustWatermark(needed), 0
    while start < len(times):
        size = sizes[start % len(sizes)]
        watermark.times += times[start : start + size]
        start += size
        assert watermark.advance() == expected[min(start, len(times)) - 1]
        # What is kept in the checkpoint determines how it continues.
        watermark = RobustWatermark(needed, watermark.value, watermark.recent())


@given(st.lists(st.integers(0, 100), min_size=40, max_size=120))
def test_a_watermark_is_never_ahead_of_a_running_median(times: list[int]) -> None:
    medians = [sorted(times[end - 31 : end])[15] for end in range(31, len(times) + 1)]
    assert runs(times, 16)[-1] <= max(*medians, runs(times[:31], 16)[-1])


@pytest.mark.parametrize("needed", [EVENTS_NEEDED, LABELS_NEEDED])
def test_fewer_wrong_times_in_a_row_move_nothing(needed: int) -> None:
    watermark = RobustWatermark(needed)
    for start in range(0, 1000, 10):
        watermark.times += [*range(start, start + 10), *[10**9] * (needed - 1)]
        assert watermark.advance() <= start + 9


@given(st.data())
@settings(max_examples=25)
def test_random_orders_chunks_wrong_times_and_restarts_give_the_same_examples(
    data: st.DataObject,
) -> None:
    count = 200
    random = Random(data.draw(st.integers(0, 2**32)))
    wrong = {random.randrange(count): random.choice([NOW, NOW + 23 * HOUR, START - YEAR])}
    raw = list(chunks(events(count, wrong), data.draw(st.sampled_from([1, 7, 100]))))
    known = list(chunks(labels(count), data.draw(st.sampled_from([1, 7, 100]))))
    partition = LabelledPartition(data.draw(st.sampled_from([None, 2, 5])))
    ends: Any = st.sampled_from([(), ("events",), ("labels",), ("events", "labels")])
    share = data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    # One pause, shorter than `idle_after`.
    pause_at = random.randrange(len(raw) + len(known))
    while raw or known:
        if len(raw) + len(known) == pause_at:
            partition.wait(20, *data.draw(ends), step=59_000)
        take_events = raw and (not known or random.random() < share)
        partition.read([(raw if take_events else known).pop(0)])
    assert {f"e{n}" for n in range(count) if n not in wrong} <= partition.examples.keys()
