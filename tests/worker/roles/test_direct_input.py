"""Start of a scorer in a topic that it reads directly, and its reaction to lost records."""

from datetime import UTC, datetime
from typing import Any

import pytest

from stream_app.core.reading.completeness import Completeness
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.errors import TopicsError
from stream_app.records import InputPartition
from stream_app.resilience import Retry
from stream_app.sources import Source
from stream_app.worker.processor import HELD
from stream_app.worker.roles.direct_input import DirectInput
from stream_app.worker.roles.source_start import SourceStart
from tests.small_pipeline import HOUR, NOW, event, record

ORDERS = InputPartition("shop.orders", 2)


class Topic:
    """Partition from `low` to `high` of a topic with an id."""

    def __init__(self, low: int = 0, high: int = 100, topic_id: str | None = "first") -> None:
        self.low, self.high, self.topic_id = low, high, topic_id

    def ends(self, source: InputPartition) -> tuple[int, int]:
        assert source == ORDERS
        return self.low, self.high

    def offset_since(self, source: InputPartition, since: int) -> int:
        return 40 if since == NOW else 0

    def id_of(self, topic: str) -> str | None:
        return self.topic_id


def direct(topic: Topic, *, accept_loss: bool = False, **changes: Any) -> DirectInput:
    source = Source(**{"topic": "shop.orders", "start": "earliest", "direct": True, **changes})
    reader: Any = topic
    return DirectInput(SourceStart(source, ORDERS, reader, topic.id_of, accept_loss))


def state_at(offset: int, topic_id: str | None = "first") -> PartitionState:
    state = PartitionState(2, HOUR, HOUR, Retry())
    state.positions = {"shop.orders": offset}
    state.source_id = topic_id
    return state


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("earliest", 7),
        ("latest", 100),
        (datetime.fromtimestamp(NOW / 1000, UTC), 40),
    ],
)
def test_the_first_offset_is_committed_before_anything_is_read(start: Any, first: int) -> None:
    subject, state = direct(Topic(7), start=start), PartitionState(2, HOUR, HOUR)
    assert subject.next_offset(-1, state, NOW) == first
    assert subject.must_commit
    assert state.source_id == "first"


def test_a_source_that_was_ingested_before_does_not_hold_the_clock() -> None:
    state = state_at(-1)
    clock = state.clock.events
    clock.sources.set(Completeness("shop.orders", NOW - HOUR, 0, 6, "open"))
    clock.sources.set(Completeness("other", NOW - HOUR, 0, 1, "open"))
    direct(Topic()).next_offset(-1, state, NOW)
    assert list(clock.sources.as_dict()) == ["other"]


def test_it_continues_where_it_was() -> None:
    subject, state = direct(Topic(), start="latest"), state_at(30)
    assert subject.next_offset(30, state, NOW) == 30
    assert not subject.must_commit
    assert not state.alarms.open
    subject.check(state, NOW)


@pytest.mark.parametrize(
    ("topic", "next_", "former"),
    [
        (Topic(low=50), 50, 0),
        (Topic(topic_id="second"), 0, 30),
        (Topic(high=10, topic_id=None), 0, 30),
    ],
)
def test_lost_records_hold_the_partition_unless_that_is_accepted(
    topic: Topic, next_: int, former: int
) -> None:
    state = state_at(30)
    assert direct(topic).next_offset(30, state, NOW) == HELD
    assert "source-held" in state.alarms.open
    assert state.positions == {"shop.orders": 30}
    for accepting in ({"on_loss": "continue"}, {"accept_loss": True}):
        state = state_at(30)
        subject = direct(topic, **accepting)
        assert subject.next_offset(30, state, NOW) == next_
        assert subject.must_commit
        assert "source-records-lost" in state.alarms.open
        assert (state.positions, state.former_offsets) == ({"shop.orders": next_}, former)


def test_a_topic_that_is_recreated_later_ends_the_task() -> None:
    topic, state = Topic(), state_at(30)
    subject = direct(topic)
    subject.next_offset(30, state, NOW)
    subject.check(state, NOW)
    topic.topic_id = None
    # It is missing now.
    subject.check(state, NOW)
    topic.topic_id = "second"
    with pytest.raises(TopicsError, match=r"shop\.orders was recreated"):
        subject.check(state, NOW)


def test_a_recreated_topic_waits_for_the_retries_of_its_predecessor() -> None:
    topic, state = Topic(topic_id="second"), state_at(30)
    waiting = record(event(1), 5)._replace(topic="shop.orders")
    state.retries.add(waiting, NOW, 10**6)
    subject = direct(topic, accept_loss=True)
    assert subject.next_offset(30, state, NOW) == HELD
    subject.check(state, NOW)
    state.retries.release(waiting)
    with pytest.raises(TopicsError, match="no more record that waits for a retry"):
        subject.check(state, NOW)
    again = direct(topic, accept_loss=True)
    assert again.next_offset(30, state, NOW) == 0
