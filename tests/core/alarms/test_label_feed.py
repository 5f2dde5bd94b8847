"""The feed gives labels in the order of their times, whatever order they come in."""

import random

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulated_labels import HOUR_MS
from stream_app.core.alarms.label_feed import LabelFeed, LabelOffsets, ServedLabel
from tests.core.alarms.streams import through_json

TIMES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 3)), max_size=80)


def labels(times: list[tuple[int, int, int]]) -> list[ServedLabel]:
    return [
        ServedLabel(time, event, partition, offset, True, 0.5)
        for offset, (time, event, partition) in enumerate(times)
    ]


def restarted(feed: LabelFeed) -> LabelFeed:
    other = LabelFeed(limit=1000)
    other.restore(through_json(feed.state()))
    return other


@given(TIMES, st.randoms(use_true_random=False))
def test_the_order_is_that_of_the_times_for_any_interleaving_and_restart(
    times: list[tuple[int, int, int]], rng: random.Random
) -> None:
    given_labels = labels(times)
    rng.shuffle(given_labels)
    feed, found = LabelFeed(limit=1000), list[ServedLabel]()
    for label in given_labels:
        feed.add(label)
        if rng.random() < 0.2:
            feed = restarted(feed)
        # The watermark never passes what is still to come.
        rest = given_labels[given_labels.index(label) + 1 :]
        found += feed.release(min((one.label_time for one in rest), default=100) - 1)
    assert found == sorted(given_labels)
    assert (feed.late, feed.forced, feed.waiting) == (0, 0, 0)


def test_labels_wait_for_the_watermark() -> None:
    feed = LabelFeed()
    for label in labels([(20, 0, 0), (10, 0, 0)]):
        feed.add(label)
    assert feed.release(9) == []
    assert [one.label_time for one in feed.release(10)] == [10]
    assert feed.waiting == 1


def test_a_full_feed_releases_the_earliest_label_early() -> None:
    feed = LabelFeed(limit=2)
    for label in labels([(30, 0, 0), (10, 0, 0), (20, 0, 0), (5, 0, 0)]):
        feed.add(label)
    assert [one.label_time for one in feed.release(0)] == [10, 5]
    assert (feed.forced, feed.late, feed.waiting) == (2, 1, 2)


def test_labels_that_share_a_time_over_more_than_an_hour_of_events_are_a_batch() -> None:
    feed = LabelFeed()
    batch = [(500 * HOUR_MS, event * HOUR_MS // 2, 0) for event in range(6)]
    short = [(501 * HOUR_MS, event * HOUR_MS // 4, 0) for event in range(5)]
    for label in labels(batch + short):
        feed.add(label)
    feed.release(501 * HOUR_MS)
    assert feed.batched == 6
    # More of the second one, which then spans more than an hour.
    for label in labels([(501 * HOUR_MS, 2 * HOUR_MS, 0)]):
        feed.add(label)
    feed.release(502 * HOUR_MS)
    assert feed.batched == 12


def test_the_smallest_offset_since_a_time_is_known_for_thirty_days() -> None:
    offsets = LabelOffsets()
    for hour in range(1000):
        offsets.add(hour * HOUR_MS, 10_000 - hour if hour % 10 == 0 else 20_000 + hour)
    assert offsets.since(985 * HOUR_MS) == 10_000 - 990
    assert offsets.since(995 * HOUR_MS) == 20_995
    assert offsets.since(0) == 10_000 - 990
    other = LabelOffsets()
    other.restore(through_json(offsets.state()))
    assert other.state() == offsets.state()
    assert len(offsets.state()[1]) == 30 * 24
