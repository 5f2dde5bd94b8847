"""Labels that are assumed when none came: once, finally, and only if their source was alive."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from stream_app.core.examples import Example
from stream_app.core.reading.completeness import Completeness
from stream_app.records import Record
from tests.core.scoring.label_streams import (
    DAY,
    Chunk,
    LabelledPartition,
    chunks,
    completeness,
    event_at,
    events,
    in_turns,
)
from tests.small_pipeline import HOUR, NOW, label, record

COUNT = 2000
LATENESS = 6 * HOUR


def is_fraud(number: int) -> bool:
    return number % 5 == 0


def verdicts(*, explicit: bool) -> list[Record]:
    """Return labels of frauds, and those of other events at the horizon if they are explicit."""
    known = {
        number: event_at(number) + (3 * HOUR if is_fraud(number) else DAY)
        for number in range(COUNT)
        if explicit or is_fraud(number)
    }
    return [
        record(label(number, known[number], fraud=is_fraud(number)), at, topic="payments.labels")
        for at, number in enumerate(sorted(known, key=lambda one: known[one]))
    ]


def complete(topic: str, until: int = NOW, source: str = "") -> Chunk:
    return topic, [completeness(Completeness(source, until), f"payments.{topic}")]


def ended() -> list[Chunk]:
    return [complete("labels"), complete("raw")]


def plain(examples: dict[str, Example]) -> dict[str, Example]:
    """Return examples without what an assumption changes."""
    return {
        name: replace(one, assumed=False, label_time=0) for name, one in sorted(examples.items())
    }


@pytest.mark.parametrize("restart_every", [None, 3])
def test_assumed_labels_are_those_that_would_have_been_sent(restart_every: int | None) -> None:
    explicit, assuming = LabelledPartition(), LabelledPartition(restart_every, absent=False)
    explicit.read(in_turns(chunks(events(COUNT), 20), chunks(verdicts(explicit=True), 20)))
    assuming.read(in_turns(chunks(events(COUNT), 20), chunks(verdicts(explicit=False), 4)))
    assuming.read(ended())
    assert explicit.counts.joined == COUNT
    assert plain(assuming.examples) == plain(explicit.examples)
    counts = assuming.counts
    assert (counts.joined, counts.assumed, counts.expired) == (COUNT // 5, 4 * COUNT // 5, 0)
    assert (counts.label_completeness, counts.completeness) == (1, 1)
    for one in assuming.examples.values():
        assert one.assumed is not is_fraud(int(one.event_id[1:]))
        assert not one.assumed or one.label_time == one.event_time + DAY + LATENESS


def test_nothing_is_assumed_while_the_source_of_labels_is_down() -> None:
    partition = LabelledPartition(absent=False, idle_after=timedelta(hours=12))
    partition.read(chunks(events(COUNT))).wait(13, "labels")
    counts = partition.counts
    assert (counts.assumed, partition.examples) == (0, {})
    assert counts.absent_unproven == counts.expired > COUNT - 60
    assert "absent-unproven" in partition.state.alarms.open
    # Alive again, they prove nothing about what has expired.
    partition.read([complete("labels")])
    assert partition.examples == {}


def test_an_outage_shorter_than_idle_after_only_delays() -> None:
    partition = LabelledPartition(2, absent=False, idle_after=timedelta(hours=30))
    known = list(chunks(verdicts(explicit=False), 20))
    partition.read(in_turns(chunks(events(COUNT)), known[:7])).wait(24, "events", "labels")
    assumed = partition.counts.assumed
    partition.read(known[7:]).read(ended())
    assert assumed < partition.counts.assumed == 4 * COUNT // 5
    assert (partition.counts.expired, partition.counts.absent_unproven) == (0, 0)


def closed() -> LabelledPartition:
    """Return a partition in which e1 was assumed to be no fraud just now."""
    partition = LabelledPartition(absent=False).read(chunks(events(20)))
    until = event_at(1) + DAY + LATENESS + 1
    return partition.read([complete("labels", until), complete("raw", until)])


def later(partition: LabelledPartition, number: int, known_at: int, fraud: bool) -> None:
    sent = record(label(number, known_at, fraud), topic="payments.labels")
    partition.read([("labels", [sent])])


def test_a_true_label_after_an_assumed_one_contradicts_and_is_not_learned() -> None:
    partition = closed()
    assert [one.assumed for one in partition.examples.values()] == [True, True]
    partition.restart()
    later(partition, 1, event_at(1) + 20 * HOUR, fraud=True)
    assert partition.counts.contradicting == 1
    assert len(partition.examples) == 2
    (alarm,) = partition.state.alarms.due(NOW)
    assert (alarm.name, alarm.value) == ("contradicting-labels", 20 * 3600.0)


@pytest.mark.parametrize(
    ("hours", "fraud", "outcome"),
    [(20, False, "label_duplicates"), (25, True, "label_expired"), (25, False, "label_expired")],
)
def test_other_labels_after_an_assumed_one_do_not_contradict(
    hours: int, fraud: bool, outcome: str
) -> None:
    partition = closed()
    later(partition, 1, event_at(1) + hours * HOUR, fraud=fraud)
    assert (getattr(partition.counts, outcome), partition.counts.contradicting) == (1, 0)
    assert partition.counts.labels == 2


def test_an_assumed_event_is_forgotten_after_twice_the_time() -> None:
    partition = closed()
    until = event_at(1) + 2 * (DAY + LATENESS) + 1
    partition.read([complete("labels", until), complete("raw", until)])
    partition.commit()
    assert not {"e0", "e1"} & partition.state.entries.keys()
    assert not {b"ee0", b"ee1"} & partition.changelog.keys()
    later(partition, 1, event_at(1) + 20 * HOUR, fraud=True)
    assert partition.counts.label_dead == {"label-too-late": 1}


def test_an_evicted_prediction_is_not_assumed() -> None:
    partition = LabelledPartition(max_entries=15, absent=False).read(chunks(events(20)))
    assert partition.counts.evicted == {"open predictions": 5}
    partition.read(ended())
    counts = partition.counts
    assert (counts.expired, counts.absent_unproven, counts.assumed) == (5, 0, 15)
