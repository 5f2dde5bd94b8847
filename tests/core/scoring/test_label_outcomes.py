"""Every label has one published outcome, as the record counts say, in any order of the inputs."""

import random
from typing import Any

import pytest

from stream_app.headers import SOURCE, SourcePosition
from stream_app.records import Record
from stream_app.sources import Source
from tests.core.scoring.label_streams import (
    DAY,
    LabelledPartition,
    chunks,
    event_at,
    events,
    in_turns,
    labels,
)
from tests.label_outcomes import check_label_outcomes
from tests.learning import fits
from tests.small_pipeline import HOUR, NOW, label, record

COUNT = 600


def random_labels(chance: random.Random) -> list[Record]:
    """Returns labels, some of them late, twice, unreadable, or of no event, in any near order."""
    found = labels(COUNT + 20)
    for number in chance.sample(range(COUNT), 150):
        time = event_at(number) + chance.choice((HOUR, 20 * HOUR, 30 * HOUR, 5 * DAY))
        found.append(record(label(number, time, fraud=chance.random() < 0.5)))
    found += [record(b"{", topic="payments.labels") for _ in range(10)]
    places = {id(one): place for place, one in enumerate(labels(COUNT + 20))}
    found.sort(key=lambda one: places.get(id(one), 0) + chance.randrange(60))
    chance.shuffle(found[: COUNT // 4])
    return [
        one._replace(topic="payments.labels", offset=offset) for offset, one in enumerate(found)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_outcomes_equal_the_record_counts(seed: int) -> None:
    chance = random.Random(seed)
    partition = LabelledPartition(
        restart_every=chance.choice((None, 3)),
        max_entries=chance.choice((50, 10**6)),
        absent=chance.choice((None, False)),
    )
    sent = random_labels(chance)
    partition.read(in_turns(chunks(events(COUNT), 20), chunks(sent, chance.choice((15, 40)))))
    partition.wait(48, "events", "labels")
    check_label_outcomes(partition.outcomes, partition.counts)
    ended = {one["offset"] for one in partition.outcomes}
    assert partition.counts.waiting == len(sent) - len(ended)
    assert all(fits("label_outcome", one) for one in partition.outcomes)
    readable = [one for one in partition.outcomes if one["event_id"] is not None]
    assert len(readable) == len(ended) - 10
    by_offset = {one.offset: one for one in sent}
    for one in readable:
        assert f'"{one["event_id"]}"'.encode() in (by_offset[one["offset"]].value or b"")


@pytest.mark.parametrize("is_early", [False, True])
def test_an_outcome_says_what_the_label_was(is_early: bool) -> None:
    partition = LabelledPartition(sources=(Source(topic="bank", start="earliest"),))
    headers = [(SOURCE, SourcePosition("bank", 1, 7, NOW).header())]
    sent = record(label(1, NOW, fraud=True), 3, topic="payments.labels", headers=headers)
    event = events(2, {1: NOW - HOUR})[1]
    stream = [("raw", [event]), ("labels", [sent, sent._replace(offset=4)])]
    partition.read(reversed(stream) if is_early else stream)
    expected: dict[str, Any] = {
        "event_id": "e1",
        "event_time": NOW - HOUR,
        "label": True,
        "label_time": NOW,
        "error_code": None,
        "label_source": "bank",
        "partition": 0,
    }
    joined = expected | {"outcome": "joined", "offset": 3}
    again = expected | {"outcome": "duplicate", "offset": 4}
    if is_early:
        # The first one still waits for its event when the second one comes.
        assert partition.outcomes == [again | {"event_time": None}, joined]
    else:
        assert partition.outcomes == [joined, again]


def test_a_label_that_waited_in_vain_is_a_dead_letter_with_its_event_id() -> None:
    partition = LabelledPartition()
    sent = record(label(7, NOW - HOUR), 5, topic="payments.labels")
    times = dict.fromkeys(range(20), NOW - HOUR)
    sent_events = [one for one in events(20, times) if one.key != b"e7"]
    partition.read([("raw", sent_events), ("labels", [sent])])
    assert partition.outcomes == []
    partition.wait(48, "events", "labels")
    (one,) = partition.outcomes
    assert (one["outcome"], one["error_code"], one["event_id"]) == (
        "dead-lettered",
        "unknown-event",
        "e7",
    )
    assert (one["label"], one["label_time"], one["offset"]) == (False, NOW - HOUR, 5)
